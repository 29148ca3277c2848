import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'uvu';
import { replaceFolder } from '../../lib/base/folder.js';
import { type Batch, IGNORED } from '../../lib/data/packing.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { openCpu } from './devices.js';
import { randomize, randomTokens, writeModel } from './models.js';

/** A hub and two experts in a folder of their own, as long as the tests of a suite run, and stitched models of them. */
export function stitchedModels(tests: Test) {
  const device = openCpu();
  const root = mkdtempSync(join(tmpdir(), 'bts-stitched-'));
  const hub = join(root, 'hub');
  const experts = { code: join(root, 'code'), math: join(root, 'math') };
  let folders = 0;
  tests.before(async () => {
    await writeModel(device, hub, { seed: 1 });
    await writeModel(device, experts.code, { seed: 2 });
    await writeModel(device, experts.math, { seed: 3, dtype: 'bf16' });
  });
  tests.after(async () => {
    device.dispose();
    await rm(root, { recursive: true, force: true });
  });

  const ids = randomTokens(2 * 7);
  const batch: Batch = { inputs: ids, targets: Int32Array.from(randomTokens(14, 2)), batch: 2, tokens: 7 };
  batch.targets[3] = IGNORED;

  const newFolder = () => join(root, `folder-${folders++}`);
  const create = (options: Partial<StitchOptions> = {}) => StitchedModel.create(device, { hub, experts, ...options });

  /** A stitched model that was trained, as far as anyone can tell. */
  async function createRandom(options: Partial<StitchOptions> = {}, seed = 5): Promise<StitchedModel> {
    const model = await create(options);
    randomize(model, seed);
    return model;
  }

  async function save(model: StitchedModel, folder = newFolder()): Promise<string> {
    await replaceFolder(folder, (temporary) => model.write(temporary));
    return folder;
  }

  async function train(model: StitchedModel, steps: number): Promise<void> {
    using optimizer = new AdamW(device, model.trainable);
    for (let step = 0; step < steps; step++) {
      optimizer.zeroGradients();
      using scope = Scope.recording(device);
      scope.backward(model.trainingLoss(scope, batch, 13, step));
      using norm = optimizer.gradientNorm();
      optimizer.update(norm, 1e-2);
    }
    await device.synchronize();
  }

  return { device, root, hub, experts, ids, batch, newFolder, create, createRandom, save, train };
}
