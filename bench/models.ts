import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { exists, writeJson } from '../lib/base/file.js';
import { hashName } from '../lib/base/random.js';
import { ADAPTER_PREFIX, ADAPTER_WEIGHTS } from '../lib/checkpoint/adapter.js';
import { ADAPTER_CONFIG } from '../lib/checkpoint/adapter-config.js';
import { configToJson } from '../lib/checkpoint/config.js';
import { parameterNames } from '../lib/checkpoint/names.js';
import { type TensorSource, writeSafetensors } from '../lib/checkpoint/safetensors-writer.js';
import { writeCheckpoint } from '../lib/checkpoint/shards.js';
import { FILE_DTYPES, tensorSource } from '../lib/model/save.js';
import { initialWeight } from '../lib/model/transformer/member.js';
import { Device } from '../lib/tensor/device.js';
import { Parameter } from '../lib/tensor/parameter.js';
import { configOf, type Size } from './sizes.js';

export type Precision = 'f32' | 'bf16';

/**
 * Folders of `count` random models of one shape in the system's temporary folder, where they stay for the next run: 22 GB at
 * `gpu-paper`. A process of its own writes each of them, so that this one's memory is that of the benchmark alone.
 */
export async function randomModels(size: Size, dtype: Precision, count: number): Promise<string[]> {
  const { width, layers, feedForwardWidth, heads, keyValueHeads, vocabularySize } = size;
  const shape = [width, layers, feedForwardWidth, heads, keyValueHeads, vocabularySize, dtype].join('-');
  const folders = Array.from({ length: count }, (_, index) => join(tmpdir(), 'bts-bench', shape, `${index}`));
  await Promise.all(folders.map((folder, index) => written({ size, dtype, index, folder })));
  return folders;
}

/** Folders of `count` random adapters of all matrices in the layers of a hub, beside it. */
export async function randomAdapters(
  size: Size,
  dtype: Precision,
  count: number,
  rank: number,
  hub: string,
): Promise<string[]> {
  using device = Device.open('cpu');
  const config = configOf(size, dtype === 'bf16' ? 'BF16' : 'F32');
  const folders = Array.from({ length: count }, (_, index) => `${hub}-adapter-${rank}-${index}`);
  for (const [index, folder] of folders.entries()) {
    if (await exists(folder)) continue;
    const matrices = parameterNames(config).filter(({ layer, shape }) => layer !== null && shape.length === 2);
    const sources = matrices.flatMap(({ name, shape: [outputs = 0, inputs = 0] }) =>
      (['A', 'B'] as const).map((letter, which): TensorSource => {
        const shape = letter === 'A' ? [rank, inputs] : [outputs, rank];
        const stored = `${ADAPTER_PREFIX}${name.replace(/weight$/, `lora_${letter}.weight`)}`;
        const data = async () => {
          using value = device.empty(shape);
          device.run('fill_normal', { y: value, deviation: 0.02, seed: hashName(`${stored} ${index} ${which}`) });
          return await tensorSource(new Parameter(stored, value), dtype).data();
        };
        return { name: stored, dtype: FILE_DTYPES[dtype], shape, data };
      }),
    );
    const unfinished = `${folder}.${process.pid}`;
    await mkdir(unfinished, { recursive: true });
    await writeSafetensors(join(unfinished, ADAPTER_WEIGHTS), sources);
    const base = { peft_type: 'LORA', base_model_name_or_path: hub };
    const said = { ...base, r: rank, lora_alpha: rank, target_modules: 'all-linear' };
    await writeJson(join(unfinished, ADAPTER_CONFIG), said);
    await rename(unfinished, folder);
  }
  return folders;
}

async function written(order: Order): Promise<void> {
  if (await exists(order.folder)) return;
  const { execArgv } = process;
  const writer = fork(fileURLToPath(import.meta.url), [JSON.stringify(order)], { execArgv });
  const [code] = await once(writer, 'exit');
  if (code !== 0) throw new Error(`writing the random model '${order.folder}' failed`);
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
  const unfinished = `${folder}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  // One tensor is in memory at a time, not the model.
  const sources = parameterNames(config).map(
    (spec): TensorSource => ({
      name: spec.name,
      dtype: FILE_DTYPES[dtype],
      shape: spec.shape,
      data: async () => {
        using value = initialWeight(device, config, spec, index + 1);
        return await tensorSource(new Parameter(spec.name, value), dtype).data();
      },
    }),
  );
  await writeCheckpoint(unfinished, sources);
  await writeJson(join(unfinished, 'config.json'), configToJson(config));
  await rm(folder, { recursive: true, force: true });
  await rename(unfinished, folder);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await writeModel(JSON.parse(process.argv[2]!) as Order);
