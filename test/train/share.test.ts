/** How batches are shared out: what is computed of parts is what is computed of the whole. */
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { MixtureBatch } from '../../lib/data/mixture.js';
import { Mixture } from '../../lib/data/mixture.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { MixtureModel } from '../../lib/model/baselines/mixture-model.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Scope } from '../../lib/tensor/scope.js';
import { parts, shareOf } from '../../lib/train/share.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { close, inTemporaryFolder, randomize, randomTokens, writeModel } from '../support/models.js';

const test = suite('shares of batches');
const device = openCpu();
test.after(() => device.dispose());

test("each row is one rank's, and ranks differ by one row at most", () => {
  for (const [of, size] of [
    [1, 1],
    [7, 3],
    [8, 3],
    [64, 64],
    [100, 7],
  ] as const) {
    const shares = Array.from({ length: size }, (_, rank) => shareOf(of, { rank, size }));
    const rows = shares.flatMap(({ first, last }) => Array.from({ length: last - first }, (_, i) => first + i));
    assert.equal(
      rows,
      Array.from({ length: of }, (_, i) => i),
    );
    const sizes = shares.map(({ first, last }) => last - first);
    assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
  }
});

/** Rows as long as the router's choice of how much it sees takes. */
const mixture = () =>
  new Mixture([{ name: 'words', tokens: new ArrayTokens(randomTokens(2000, 1)), weight: 1 }], {
    sequenceLength: 48,
    batchSize: 5,
    seed: 1,
  });

const KINDS: Record<string, (hub: string, code: string) => Promise<LanguageModel>> = {
  stitched: (hub, code) => StitchedModel.create(device, { hub, experts: { code }, dropout: 0.4 }),
  'low-rank stitches': (hub, code) => StitchedModel.create(device, { hub, experts: { code }, dropout: 0.4, rank: 2 }),
  scalar: (hub, code) => StitchedModel.create(device, { hub, experts: { code }, dropout: 0.4, gate: 'scalar' }),
  'btx-sample': (hub, code) => MixtureModel.create(device, 'btx-sample', { hub, experts: { code } }),
  routing: (hub, code) => RoutedModel.create(device, { hub, experts: { code } }),
};

for (const [kind, create] of Object.entries(KINDS)) {
  test(`${kind}: the parts of a batch make the random choices of the whole`, async () => {
    await inTemporaryFolder(async (root) => {
      const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
      using model = await create(hub, await writeModel(device, join(root, 'code'), { seed: 2 }));
      randomize(model, 3);
      const lossOf = async (batch: MixtureBatch) => {
        using scope = Scope.recording(device);
        return await (await model.trainingLoss(scope, batch, 240, 11, 0.5)).item();
      };
      const whole = await mixture().next();
      const share = await mixture().next({ of: 5, first: 2, last: 5 });
      const [first, ...rest] = parts(whole, 2) as [MixtureBatch, ...MixtureBatch[]];
      assert.equal(
        [first, ...rest].map(({ firstRow, batch }) => [firstRow, batch]),
        [
          [0, 2],
          [2, 2],
          [4, 1],
        ],
      );
      assert.equal(share.inputs, whole.inputs.slice(2 * 48));
      const losses = [await lossOf(first), await lossOf(share)];
      close([losses[0]! + losses[1]!], [await lossOf(whole)], 1e-5);
      const unlike = await lossOf({ ...share, firstRow: 0 });
      assert.ok(Math.abs(unlike - losses[1]!) > 1e-5, 'rows of other places are left other things');
    });
  });
}

test('a batch of fewer rows than ranks is refused', async () => {
  await fails(
    () => shareOf(3, { rank: 0, size: 4 }),
    'BAD_OPTION',
    /a batch of 3 sequences cannot be shared out among 4 ranks/,
  );
});

test.run();
