/** A stitched model whose members lie on ranks of their own computes what it does in one process. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device } from '../../lib/tensor/device.js';
import { close, inTemporaryFolder, randomize, writeModel } from '../support/models.js';
import { look, type Seen, type SeenOnRanks } from './member-programs.js';
import { openDevice } from './open-device.js';
import { noEmulation, noMpi, runRanks, valuesOf } from './ranks.js';

const test = suite('members on ranks of their own');
const why = noMpi();
const whyNotEmulated = noEmulation();
if (why !== undefined) console.log(`members on ranks: skipped, ${why}`);
const TOLERANCE = 1e-5;

/** A stitched model with random stitches, in a folder. */
async function write(
  device: Device,
  folder: string,
  experts: number,
  options: Partial<StitchOptions>,
): Promise<string> {
  const names = ['code', 'math', 'languages'].slice(0, experts);
  const paths: Record<string, string> = {};
  for (const [i, name] of names.entries()) paths[name] = await writeModel(device, join(folder, name), { seed: i + 2 });
  const hub = await writeModel(device, join(folder, 'hub'), { seed: 1 });
  using model = await StitchedModel.create(device, { hub, experts: paths, ...options });
  randomize(model, 3);
  const out = join(folder, 'stitched');
  await mkdir(out);
  await model.write(out);
  return out;
}

function expectSame(ranks: readonly SeenOnRanks[], whole: Seen, model: string): void {
  for (const [rank, seen] of ranks.entries()) {
    const is = (what: string) => `${model}: ${what} of rank ${rank}`;
    assert.equal(seen.left, { tokens: 2, code: rank === 1 ? 'none' : 'ABORTED' }, is('a generation that one leaves'));
    assert.equal(seen.stopped, { tokens: 2, code: 'ABORTED' }, is('a generation that one stops'));
    close(seen.losses, whole.losses, TOLERANCE, is('losses'));
    close(seen.logits, whole.logits, TOLERANCE, is('logits'));
    close([seen.trainingLoss], [whole.trainingLoss], TOLERANCE, is('training loss'));
    assert.equal(seen.tokens, whole.tokens, is('tokens'));
    const means = ({ gates }: Seen) => gates.flatMap(({ stitches }) => stitches.flatMap(({ mean }) => mean));
    close(means(seen), means(whole), TOLERANCE, is('gates'));
  }
  // Each gradient is somebody's: gates whole or member by member.
  const own = ranks.flatMap(({ gradients }, rank) => gradients.map((gradient) => ({ ...gradient, rank })));
  for (const { name, shape, values } of whole.gradients) {
    const parts = own.filter((part) => part.name === name);
    assert.ok(parts.length > 0, `nobody has ${name}`);
    const size = values.length / shape[0]!;
    for (const part of parts) {
      const isSlice = part.values.length < values.length;
      const expected = isSlice ? values.slice(part.rank * size, (part.rank + 1) * size) : values;
      close(part.values, expected, TOLERANCE, `gradient of ${name} on rank ${part.rank}`);
    }
  }
}

const VARIANTS: [title: string, experts: number, options: Partial<StitchOptions>, device?: string][] = [
  ['two members, projected experts', 1, { stitches: 3 }],
  ['three members, dropout', 2, { stitches: 3, dropout: 0.3 }],
  [
    'four members, scalar gates with a bias, experts unchanged',
    3,
    { gate: 'scalar', init: 'hub', expertsAfterMerge: 'unchanged' },
  ],
  ['three members, low rank', 2, { rank: 3, stitches: 3 }],
  ['two members, all stitches into the hub', 1, { stitches: 2, alternate: false }],
  ['two members, one stitch', 1, { stitches: 1 }],
  ['three members on the emulation', 2, { stitches: 3 }, 'cuda-emulated/f32'],
];

const RUNS: [experts: number, device: string][] = [
  [1, 'cpu'],
  [2, 'cpu'],
  [3, 'cpu'],
  [2, 'cuda-emulated/f32'],
];

for (const [experts, name] of why === undefined ? RUNS : []) {
  const title = `${experts + 1} members on ${name}`;
  if (name !== 'cpu' && whyNotEmulated !== undefined) {
    console.log(`${title}: skipped, ${whyNotEmulated}`);
    continue;
  }
  // One start of ranks for all models of as many members: starting takes longer than most of them.
  test(title, async () => {
    await inTemporaryFolder(async (root) => {
      using device = openDevice(name);
      const variants = VARIANTS.filter(([, count, , on = 'cpu']) => count === experts && on === name);
      const folders: string[] = [];
      for (const [i, [, , options]] of variants.entries())
        folders.push(await write(device, join(root, `${i}`), experts, options));
      const env = { BTS_TEST_MODELS: JSON.stringify(folders) };
      const ranks = valuesOf<SeenOnRanks[]>(await runRanks('members', experts + 1, { env, device: name }));
      for (const [i, [variant]] of variants.entries()) {
        using model = await StitchedModel.load(device, folders[i]!, { trainable: true });
        expectSame(
          ranks.map((models) => models[i]!),
          await look(model),
          variant,
        );
      }
    });
  });
}

if (why === undefined)
  test('more ranks than members are refused on all of them', async () => {
    await inTemporaryFolder(async (folder) => {
      using device = Device.open('cpu', { threads: 1 });
      const stitched = await write(device, folder, 1, {});
      const { reports } = await runRanks('members', 3, { env: { BTS_TEST_MODELS: JSON.stringify([stitched]) } });
      for (const report of reports.filter((report) => report !== undefined)) {
        assert.is(report.error?.code, 'BAD_OPTION');
        assert.match(report.error!.message, /has 2 members, hub, code, and there are 3 ranks: start as many/);
      }
      assert.ok(reports.some((report) => report !== undefined));
    });
  });

test.run();
