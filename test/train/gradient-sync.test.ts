/** When gradients leave, of every kind of model, with a communicator that only looks. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Communicator } from '../../lib/tensor/communicator.js';
import { Scope } from '../../lib/tensor/scope.js';
import type { Tensor } from '../../lib/tensor/tensor.js';
import { GradientSync } from '../../lib/train/gradient-sync.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, randomize, writeModel } from '../support/models.js';
import { tinyMixture } from '../support/training.js';

const test = suite('gradients that leave');
const device = openCpu();
test.after(() => device.dispose());

/** One of two ranks, which keeps what is to be summed as it is when it leaves. */
class Onlooker extends Communicator {
  readonly left: { gradient: Tensor; copy: Tensor }[] = [];

  constructor() {
    super(device, 'none', 0, 2);
  }

  override allReduce(tensors: readonly Tensor[]): void {
    for (const gradient of tensors) {
      const copy = device.empty(gradient.shape);
      device.run('convert', { y: copy, x: gradient });
      this.left.push({ gradient, copy });
    }
  }
}

const MODELS: Record<string, (hub: string, code: string) => Promise<LanguageModel>> = {
  dense: (hub) => DenseModel.load(device, hub, { trainable: true }),
  adapter: (hub) => DenseModel.adapt(device, hub, { rank: 2 }),
  stitched: (hub, code) => StitchedModel.create(device, { hub, experts: { code } }),
  'low-rank stitches': (hub, code) => StitchedModel.create(device, { hub, experts: { code }, rank: 2 }),
  'btx-soft': (hub, code) => MixtureModel.create(device, 'btx-soft', { hub, experts: { code } }),
  'bam-adapters': (hub, code) => MixtureModel.create(device, 'bam-adapters', { hub, experts: { code } }),
};

/** Gradients of an update of two batches; how many had left when the backward was over. */
async function update(model: LanguageModel, sync: GradientSync, onlooker: Onlooker, keep: number): Promise<number> {
  const data = tinyMixture();
  onlooker.left.length = 0;
  sync.begin();
  for (const { gradient } of model.trainable) device.run('fill', { y: gradient!, value: 0 });
  for (const last of [false, true]) {
    using scope = Scope.recording(device, { keep });
    const loss = await model.trainingLoss(scope, await data.next(), 48, 1, 0);
    scope.backward(loss, last ? sync.watch : undefined);
  }
  const early = onlooker.left.length;
  sync.finish();
  return early;
}

// qwen2 is tied: its embeddings have gradients from both ends. phi3 has several weights in one tensor.
for (const [kind, create] of Object.entries(MODELS)) {
  for (const family of ['qwen2', 'phi3'] as const) {
    test(`${kind} of ${family}: each leaves once, when the backward is done with it, many before its end`, async () => {
      await inTemporaryFolder(async (root) => {
        const config = CONFIGS[family];
        using model = await create(
          await writeModel(device, join(root, 'hub'), { seed: 1, config }),
          await writeModel(device, join(root, 'code'), { seed: 2, config }),
        );
        randomize(model, 5);
        const onlooker = new Onlooker();
        const sync = new GradientSync(onlooker, model.trainable, 200);
        for (const [n, keep] of [Infinity, Infinity, 0].entries()) {
          const early = await update(model, sync, onlooker, keep);
          assert.is(onlooker.left.length, model.trainable.length);
          assert.is(new Set(onlooker.left.map(({ gradient }) => gradient)).size, model.trainable.length);
          if (n === 0) assert.is(early, 0);
          else assert.ok(early >= model.trainable.length / 2, `${early} of ${model.trainable.length}`);
          for (const { gradient, copy } of onlooker.left) {
            assert.equal(await copy.read(), await gradient.read());
            copy.dispose();
          }
          await sync.learn();
        }
      });
    });
  }
}

test.run();
