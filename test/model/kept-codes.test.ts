/** Codes of quantized matrices that are kept on the disk. */
import { execFileSync } from 'node:child_process';
import { copyFile, mkdir, open, readdir, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DenseModel } from '../../lib/model/dense-model.js';
import { Device } from '../../lib/tensor/device.js';
import { openCpu } from '../support/devices.js';
import { varied } from '../support/flat-config.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';
import { withUserCache } from '../support/user-cache.js';

// The feed-forward part has three matrices that are large enough; those of the attention are not.
const CONFIG = varied(CONFIGS.llama, { layers: 1, width: 128, feedForwardWidth: 2048, headWidth: 32 });
const IDS = Array.from({ length: 8 }, (_, i) => (i * 37) % 256);
/** After which another change would give a file another time. */
const SETTLED_MS = 2100;

/** Runs `use` with a model and a cache folder of its own. */
async function withModel(use: (model: string, cache: string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const model = await writeModel(device, join(folder, 'model'), { config: CONFIG });
    const cache = join(folder, 'cache');
    await withUserCache(cache, () => use(model, join(cache, 'branch-train-stitch', 'codes')));
  });
}

/** What a model computes that is held so, and how many matrices were quantized for it. */
async function load(model: string, members: 'int8' | 'int4', instructionSet?: string) {
  using device = Device.open('cpu', { threads: 2, ...(instructionSet && { instructionSet }) });
  const { run } = device;
  let count = 0;
  device.run = (op, args) => {
    if (op === 'quantize') count++;
    run.call(device, op, args);
  };
  using dense = await DenseModel.load(device, model, { members });
  return { logits: await dense.logits(IDS), count };
}

test('codes are made once for a file, a number of bits and a kind of device', async () => {
  await withModel(async (model, cache) => {
    const fresh = await load(model, 'int8');
    assert.is(fresh.count, 7);
    assert.equal(await readdir(cache).catch(() => []), [], 'the file could still be changed within the same moment');
    await setTimeout(SETTLED_MS);
    for (const [members, files] of [
      ['int8', 3],
      ['int4', 6],
    ] as const) {
      const first = await load(model, members);
      assert.is(first.count, 7);
      if (members === 'int8') assert.equal(first.logits, fresh.logits);
      assert.is((await readdir(cache)).length, files);
      assert.equal(await load(model, members), { logits: first.logits, count: 4 });
    }
    assert.is((await load(model, 'int8', 'generic')).count, 7);
    assert.is((await readdir(cache)).length, 9);
  });
});

test('codes that are damaged, or of weights that have changed, are made again', async () => {
  await withModel(async (model, cache) => {
    await setTimeout(SETTLED_MS);
    const { logits } = await load(model, 'int4');
    const [first, second, third] = (await readdir(cache)).map((name) => join(cache, name)) as [string, string, string];
    const file = await open(first, 'r+');
    await file.write(Buffer.from([0xa5]), 0, 1, 5000);
    await file.close();
    await truncate(second, 700);
    await writeFile(third, '');
    assert.equal(await load(model, 'int4'), { logits, count: 7 });
    assert.equal(await load(model, 'int4'), { logits, count: 4 });
    await copyFile(first, second);
    assert.equal(await load(model, 'int4'), { logits, count: 5 }, 'of another matrix');

    const weights = join(model, 'model.safetensors');
    await utimes(weights, new Date(2020, 1), new Date(2020, 1));
    await setTimeout(SETTLED_MS);
    assert.equal(await load(model, 'int4'), { logits, count: 7 });
    assert.equal(await load(model, 'int4'), { logits, count: 4 });
    assert.is((await readdir(cache)).length, 3, 'the old ones are replaced');
  });
});

test('where nothing can be kept, codes are made whenever a model is loaded', async () => {
  await withModel(async (model, cache) => {
    await setTimeout(SETTLED_MS);
    await mkdir(join(cache, '..'), { recursive: true });
    await writeFile(cache, 'no folder');
    const { logits } = await load(model, 'int8');
    assert.equal(await load(model, 'int8'), { logits, count: 7 });
  });
});

test('a disk that is full is told once, and the model is there', async () => {
  await withModel(async (model, cache) => {
    const disk = join(cache, '..');
    await mkdir(disk, { recursive: true });
    await setTimeout(SETTLED_MS);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk], { stdio: 'pipe' });
    } catch {
      console.log('a full disk: skipped, a tmpfs cannot be mounted here');
      return;
    }
    const told: string[] = [];
    const hear = (warning: Error & { code?: string }) => told.push(warning.code ?? warning.message);
    process.on('warning', hear);
    try {
      const { logits } = await load(model, 'int8');
      assert.equal(await load(model, 'int8'), { logits, count: 7 });
      await setTimeout(0);
      assert.equal(told, ['CODES_NOT_KEPT']);
      assert.equal(await readdir(cache), []);
    } finally {
      process.off('warning', hear);
      execFileSync('umount', ['-l', disk]);
    }
  });
});

test.run();
