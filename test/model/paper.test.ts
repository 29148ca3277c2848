/** The paper's own numbers, to the digit, and what is counted beside them against what the ops report. */
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { forwardFlopsPerToken, stitchedCost } from '../../lib/model/cost/cost.js';
import { PAPER_SEGMENT, paperFlops } from '../../lib/model/cost/paper.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { countFlops } from '../../lib/tensor/flops.js';
import { Scope } from '../../lib/tensor/scope.js';
import { callCli } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, randomTokens, writeModel } from '../support/models.js';

const json = async (...args: string[]) => JSON.parse((await callCli(...args, '--json')).stdout);

test('Tables 11 and 12: operations of five layers of BAM and BTS as the paper counts them', async () => {
  assert.is(paperFlops(PAPER_SEGMENT).bam.total, 4_781_752_320);
  assert.is(paperFlops(PAPER_SEGMENT).bts.total, 4_857_028_608);
  const { paper, executed } = await json('flops', '--config', 'paper');
  assert.is(paper.bam.total, 4_781_752_320);
  assert.is(paper.bts.total, 4_857_028_608);
  const feedForward = paper.bts.parts.find(({ part }: { part: string }) => part === 'feed-forward').flops;
  assert.is(feedForward, 60 * 3072 * 12_288);
  // Two operations for each weight of 5 x 4 layers, a key for every second token of the context, and the stitch.
  const layer = 2 * (2 * 3072 * 3072 + 2 * 3072 * 128 + 3 * 3072 * 8192) + 4 * 3072 * 4096.5;
  assert.is(executed.bts.total, 20 * layer + 2 * (4 + 3) * 3072 * 3072);
  assert.is(executed.bam.total, 20 * layer + 2 * 5 * 2 * 4 * 3072);
});

test('Table 1: trained and total parameters of every system', async () => {
  const { seed, systems } = await json('params', '--config', 'paper');
  const billions = (n: number) => `${(n / 1e9).toFixed(1)}B`;
  const shown = Object.fromEntries(
    systems.map(({ system, trained, total }: Record<string, number>) => [system, [trained!, total!].map(billions)]),
  );
  assert.is(billions(seed), '2.7B');
  assert.equal(shown.btm, ['0.0B', '10.8B']);
  assert.equal(shown['btx-sample'], ['7.2B', '7.2B']);
  assert.equal(shown['btx-soft'], ['7.2B', '7.2B']);
  assert.equal(shown.bam, ['8.4B', '8.4B']);
  assert.equal(shown['bam-adapters'], ['1.5B', '9.9B']);
  assert.equal(shown.bts, ['0.3B', '11.0B']);
  assert.is(systems.at(-1).trained, 264_241_152);
});

/** Equal but for the rounding of the averages among the terms. */
function same(got: number, want: number, what: string): void {
  assert.ok(Math.abs(got / want - 1) < 1e-12, `${what}: ${got}, expected ${want}`);
}

test("the operations that a model's forward pass is said to take are those that its ops report", async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const ids = randomTokens(2 * 24);
    for (const [family, config] of Object.entries(CONFIGS)) {
      const paths = [];
      for (const seed of [1, 2, 3])
        paths.push(await writeModel(device, join(folder, `${family}${seed}`), { config, seed }));
      const [hub, a, b] = paths as [string, string, string];
      using dense = await DenseModel.load(device, hub);
      same(await countFlops(device, () => dense.logits(ids, 2)), ids.length * forwardFlopsPerToken(config, 24), family);
      for (const form of [{ gate: 'channel' }, { gate: 'scalar' }, { rank: 3 }, { gate: 'scalar', rank: 3 }] as const) {
        using stitched = await StitchedModel.create(device, { hub, experts: { a, b }, stitches: 2, ...form });
        const cost = stitchedCost(
          { ...stitched.manifest, members: [config, config, config] },
          { batch: 2, tokens: 24 },
        );
        same(
          await countFlops(device, () => stitched.logits(ids, 2)),
          ids.length * cost.forwardFlops,
          `${family} stitched`,
        );
        const batch = { inputs: ids, targets: ids, batch: 2, tokens: 24 };
        const trained = await countFlops(device, () => {
          using scope = Scope.recording(device);
          scope.backward(stitched.trainingLoss(scope, batch, ids.length, 1));
        });
        same(trained, ids.length * cost.trainingFlops, `${family} stitched, a training step`);
      }
    }
  });
});

test('bts params and bts flops take the folder of any model', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const [hub, a] = [
      await writeModel(device, join(folder, 'hub')),
      await writeModel(device, join(folder, 'a'), { seed: 2 }),
    ];
    for (const rank of [undefined, 5]) {
      using stitched = await StitchedModel.create(device, { hub, experts: { a }, stitches: 2, rank });
      const own = stitched.trainable.reduce((sum, { value }) => sum + value.size, 0);
      const written = await mkdtemp(join(folder, 'stitched-'));
      await stitched.write(written);
      const { members, systems } = await json('params', '--config', written);
      assert.is(members, 2);
      assert.is(systems.at(-1).trained, own);
    }
    const { executed, tokens } = await json('flops', '--config', hub, '--members', '2', '--layers', '3');
    assert.is(tokens, 64);
    assert.ok(executed.bts.total > executed.bam.total);
  });
});

test.run();
