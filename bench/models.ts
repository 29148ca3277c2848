import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, writeJson } from '../lib/base/file.js';
import { configToJson } from '../lib/checkpoint/config.js';
import { writeCheckpoint } from '../lib/checkpoint/shards.js';
import { tensorSource } from '../lib/model/save.js';
import { Member } from '../lib/model/transformer/member.js';
import { Device } from '../lib/tensor/device.js';
import { configOf, type Size } from './sizes.js';

export type Precision = 'f32' | 'bf16';

/**
 * Folders of `count` random models of one shape in the system's temporary folder, where they stay for the next run. A
 * process of its own writes them, so that this one's memory is that of the benchmark alone.
 */
export async function randomModels(size: Size, dtype: Precision, count: number): Promise<string[]> {
  const { width, layers, feedForwardWidth, heads, keyValueHeads, vocabularySize } = size;
  const shape = [width, layers, feedForwardWidth, heads, keyValueHeads, vocabularySize, dtype].join('-');
  const folders = Array.from({ length: count }, (_, index) => join(tmpdir(), 'bts-bench', shape, `${index}`));
  for (const [index, folder] of folders.entries()) {
    if (await exists(folder)) continue;
    const writer = fork(fileURLToPath(import.meta.url), [JSON.stringify({ size, dtype, index, folder })], {
      execArgv: process.execArgv,
    });
    const [code] = await once(writer, 'exit');
    if (code !== 0) throw new Error(`writing the random model '${folder}' failed`);
  }
  return folders;
}

interface Order {
  size: Size;
  dtype: Precision;
  index: number;
  folder: string;
}

async function writeModel({ size, dtype, index, folder }: Order): Promise<void> {
  using device = Device.open('cpu');
  const config = configOf(size, dtype === 'bf16' ? 'BF16' : 'F32');
  using member = Member.create(device, config, index + 1);
  const unfinished = `${folder}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  await writeCheckpoint(
    unfinished,
    member.parameters.map((parameter) => tensorSource(parameter, dtype)),
  );
  await writeJson(join(unfinished, 'config.json'), configToJson(config));
  await rm(folder, { recursive: true, force: true });
  await rename(unfinished, folder);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeModel(JSON.parse(process.argv[2]!) as Order);
