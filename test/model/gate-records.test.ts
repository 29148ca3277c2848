/** Gates of single tokens: of texts, and while generating, against means over what `trace` reads. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { SparseModel } from '../../lib/model/baselines/sparse-model.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { type GeneratedToken, Generation } from '../../lib/model/decoding/generation.js';
import { checkSampling } from '../../lib/model/decoding/options.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { continuePrompts } from '../../lib/model/requests/continue-prompts.js';
import { scoreContinuations } from '../../lib/model/requests/score-continuations.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import type { TokenGates } from '../../lib/model/stitches/gate-log.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { close, liveBytes, randomize, randomTokens, writeModel } from '../support/models.js';

const records = suite('gate records');
const device = openCpu();
const root = await mkdtemp(join(tmpdir(), 'bts-gate-records-'));
const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
const experts = {
  code: await writeModel(device, join(root, 'code'), { seed: 2 }),
  math: await writeModel(device, join(root, 'math'), { seed: 3 }),
};
records.after(async () => {
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

async function create(options: Partial<StitchOptions> = {}): Promise<StitchedModel> {
  const model = await StitchedModel.create(device, { hub, experts, ...options });
  randomize(model, 5);
  return model;
}

/** What `trace` says, by row, stitch and member: the gates of all channels. */
async function traced(model: StitchedModel, ids: ArrayLike<number>, batch: number): Promise<number[][][][]> {
  const traces = await model.trace(ids, batch);
  const M = model.memberNames.length;
  return Array.from({ length: ids.length }, (_, n) =>
    traces.map(({ gates }) => {
      const G = gates.length / (ids.length * M);
      return Array.from({ length: M }, (_, m) => [...gates.slice((n * M + m) * G, (n * M + m + 1) * G)]);
    }),
  );
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Expects the means of one row, and that a merge's are 1 in all. */
function expectMeans(model: StitchedModel, found: TokenGates, want: readonly (readonly (readonly number[])[])[]): void {
  assert.equal(found.members, model.memberNames);
  assert.equal(
    found.stitches.map(({ placement }) => placement),
    model.manifest.plan,
  );
  for (const [s, { mean: means, placement }] of found.stitches.entries()) {
    close([...means], want[s]!.map(mean), 2e-6);
    if (placement.kind === 'experts_into_hub') close([means.reduce((a, b) => a + b, 0)], [1], 2e-6);
    else assert.is(means[0], 0);
  }
}

const VARIANTS: Record<string, Partial<StitchOptions>> = {
  'a gate for each channel': {},
  'one gate for the token': { gate: 'scalar' },
  'low rank': { rank: 3 },
  'low rank, one gate': { rank: 3, gate: 'scalar' },
  'a gate bias': { init: 'hub' },
  'merges alone': { alternate: false, expertsAfterMerge: 'unchanged' },
};

for (const [what, options] of Object.entries(VARIANTS)) {
  records(`of a text they are the means of what trace reads: ${what}`, async () => {
    using model = await create(options);
    const ids = randomTokens(3 * 7);
    await model.gates(ids, 3); // what a model keeps is made at first use
    const before = await liveBytes(device);
    const found = await model.gates(ids, 3);
    assert.is(await liveBytes(device), before);
    const want = await traced(model, ids, 3);
    assert.is(found.length, 21);
    for (const [n, row] of found.entries()) expectMeans(model, row, want[n]!);
  });

  records(`of each token that is generated, and of its prompt: ${what}`, async () => {
    using model = await create(options);
    const prompt = [...randomTokens(6)];
    const settings = { maxTokens: 9, stopTokens: [], seed: 3 };
    const plain = await collect(model.generate(prompt, settings));
    const before = await liveBytes(device);
    const tokens = await collect(model.generate(prompt, { ...settings, gates: true }));
    assert.is(await liveBytes(device), before);
    assert.equal(
      tokens.map(({ id, finish }) => [id, finish]),
      plain.map(({ id, finish }) => [id, finish]),
      'asking changes nothing',
    );
    assert.ok(plain.every((token) => !('gates' in token)));
    const want = await traced(model, [...prompt, ...tokens.map(({ id }) => id)], 1);
    for (const [i, token] of tokens.entries()) expectMeans(model, token.gates!, want[prompt.length - 1 + i]!);
    const { promptGates } = tokens[0]!;
    assert.is(promptGates!.length, prompt.length - 1);
    for (const [i, row] of promptGates!.entries()) expectMeans(model, row, want[i]!);
    assert.ok(tokens.slice(1).every((token) => token.promptGates === undefined));
  });
}

records('of requests that are continued, whatever they have in common', async () => {
  using dense = await DenseModel.load(device, hub);
  using model = await create();
  const folder = join(root, 'continued');
  await replaceFolder(folder, (path) => model.write(path));
  using sparse = await SparseModel.create(device, folder, 1);
  const common = [...randomTokens(30)];
  const prompts = [...Array.from({ length: 9 }, (_, i) => [...common, i, 2 * i]), [1, 2, 3]];
  const lanes = (of: LanguageModel) =>
    prompts.map((prompt, index) => {
      const plan = { index, prompt, isText: false, seed: 5, maxTokens: 4 + index, stop: [], logprobs: undefined };
      return new Generation(of, { ...plan, stopTokens: new Set<number>(), sampling: checkSampling({}) });
    });
  const options = { batchSize: 3, sharePrefixes: true, gates: {} };
  const told: GeneratedToken[][] = prompts.map(() => []);
  await model.gates([1], 1); // what a model keeps is made at first use
  const before = await liveBytes(device);
  for await (const { latest } of continuePrompts(model, lanes(model), options)) told[latest.index]!.push(latest);
  assert.is(await liveBytes(device), before);
  for (const [p, tokens] of told.entries()) {
    const prompt = prompts[p]!;
    assert.is(tokens.length, 4 + p);
    const want = await traced(model, [...prompt, ...tokens.map(({ id }) => id)], 1);
    for (const [i, token] of tokens.entries()) expectMeans(model, token.gates!, want[prompt.length - 1 + i]!);
    // The two tokens behind what nine of them have in common; all of the last one.
    const own = tokens[0]!.promptGates!;
    assert.is(own.length, p < 9 ? 1 : 2);
    for (const [i, row] of own.entries()) expectMeans(model, row, want[prompt.length - 1 - own.length + i]!);
  }
  for await (const { latest } of continuePrompts(sparse, lanes(sparse), options)) assert.ok(latest.gates);
  await fails(() => collect(continuePrompts(dense, lanes(dense), options)), 'BAD_OPTION', /no gates/);
});

records('of several prompts each has its own', async () => {
  using model = await create();
  const prompts = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8], [30, 31]];
  const options = { maxTokens: 6, stopTokens: [], gates: true, batchSize: 2 };
  const tokens = await collect(model.generate(prompts, options));
  for (const [p, prompt] of prompts.entries()) {
    const own = tokens.filter(({ index }) => index === p);
    const want = await traced(model, [...prompt, ...own.map(({ id }) => id)], 1);
    for (const [i, token] of own.entries()) expectMeans(model, token.gates!, want[prompt.length - 1 + i]!);
    assert.is(own[0]!.promptGates!.length, prompt.length - 1);
  }
});

records('quantiles are those of all channels', async () => {
  using model = await create();
  const ids = randomTokens(5);
  const quantiles = [0, 0.25, 0.5, 1];
  const found = await model.gates(ids, 1, { quantiles });
  const want = await traced(model, ids, 1);
  for (const [n, row] of found.entries()) {
    expectMeans(model, row, want[n]!);
    for (const [s, stitch] of row.stitches.entries()) {
      for (const [m, own] of stitch.quantiles!.entries()) {
        const sorted = [...want[n]![s]![m]!].sort((a, b) => a - b);
        const at = (q: number) => sorted[Math.floor(q)]! + (q % 1) * (sorted[Math.ceil(q)]! - sorted[Math.floor(q)]!);
        close(
          [...own],
          quantiles.map((q) => at(q * (sorted.length - 1))),
          1e-6,
        );
      }
    }
  }
  const [token] = await collect(model.generate([...ids], { maxTokens: 1, gates: { quantiles: [0.5] } }));
  close([token!.gates!.stitches[0]!.quantiles![1]![0]!], [found[4]!.stitches[0]!.quantiles![1]![2]!], 1e-6);
});

records('without an expert they are of the rest', async () => {
  using model = await create();
  await replaceFolder(join(root, 'frozen'), (folder) => model.write(folder));
  using loaded = await StitchedModel.load(device, join(root, 'frozen'));
  for (const names of [['code'], ['code', 'math']]) {
    const rest = loaded.without(names);
    const tokens = await collect(rest.generate([3, 4, 5], { maxTokens: 3, stopTokens: [], gates: true }));
    const want = await traced(rest, [3, 4, 5, ...tokens.map(({ id }) => id)], 1);
    for (const [i, token] of tokens.entries()) expectMeans(rest, token.gates!, want[2 + i]!);
  }
});

records('a sparse model tells those of the experts that it picked', async () => {
  using model = await create();
  const folder = join(root, 'for-sparse');
  await replaceFolder(folder, (temporary) => model.write(temporary));
  using sparse = await SparseModel.create(device, folder, 1);
  const tokens = await collect(sparse.generate([[3, 4, 5], [8]], { maxTokens: 3, stopTokens: [], gates: true }));
  using whole = await StitchedModel.load(device, folder);
  for (const [p, prompt] of [[3, 4, 5], [8]].entries()) {
    const [picked] = await sparse.picks(prompt);
    const rest = whole.without(whole.memberNames.slice(1).filter((name) => !picked!.includes(name)));
    const own = tokens.filter(({ index }) => index === p);
    const ids = [...prompt, ...own.map(({ id }) => id)];
    const want = await traced(rest, ids, 1);
    for (const [i, token] of own.entries()) expectMeans(rest, token.gates!, want[prompt.length - 1 + i]!);
    for (const [n, row] of (await sparse.gates(prompt)).entries()) expectMeans(rest, row, want[n]!);
  }
});

records('of continuations that are scored each token has its own, however they are computed', async () => {
  using model = await create();
  const folder = join(root, 'for-scoring');
  await replaceFolder(folder, (temporary) => model.write(temporary));
  using sparse = await SparseModel.create(device, folder, 2);
  const prefix = Array.from({ length: 20 }, (_, i) => 3 * i);
  const requests = Array.from({ length: 6 }, (_, i) => ({
    context: [...prefix, i].slice(i % 2 === 0 ? 0 : 15),
    continuations: [[7, 8, 9], [i + 1], [5, 6]],
  }));
  for (const scored of [model, sparse]) {
    for (const sharePrefixes of [true, false]) {
      const options = { batchSize: 4, sharePrefixes };
      const plain = await collect(scoreContinuations(scored, requests, options));
      const found = await collect(scoreContinuations(scored, requests, { ...options, gates: {} }));
      assert.equal(
        found.map(({ scores }) => scores.map(({ logProbability, isGreedy }) => ({ logProbability, isGreedy }))),
        plain.map(({ scores }) => scores),
      );
      for (const { request, scores } of found) {
        for (const [c, tokens] of request.continuations.entries()) {
          const want = await traced(model, [...request.context, ...tokens], 1);
          assert.is(scores[c]!.gates!.length, tokens.length);
          for (const [t, row] of scores[c]!.gates!.entries()) {
            expectMeans(model, row, want[request.context.length - 1 + t]!);
          }
        }
      }
    }
  }
});

records('not asked for they are not computed: a step has no op more', async () => {
  using model = await create();
  const ops = async (gates: boolean, maxTokens: number) => {
    await device.synchronize();
    device.profile();
    await collect(model.generate([1, 2, 3], { maxTokens, stopTokens: [], gates }));
    return device.profile();
  };
  const calls = (profile: Awaited<ReturnType<typeof ops>>) =>
    Object.fromEntries(Object.entries(profile).map(([name, { calls }]) => [name, calls]));
  await ops(true, 1);
  const [plain, asked] = [calls(await ops(false, 5)), calls(await ops(true, 5))];
  const more = Object.entries(asked).filter(([name, count]) => count !== plain[name]);
  // A sum over channels at each of the stitches, once for the prompt and once for each token behind the first; a read each.
  // The ones that sums are products with are made for the prompt, and for all tokens behind it.
  const sums = 5 * model.manifest.plan.length;
  assert.equal(Object.fromEntries(more.map(([name, count]) => [name, count - (plain[name] ?? 0)])), {
    fill: 2,
    linear_forward: sums,
    read: 5,
  });
});

records('a model without stitches says so, and wrong options are named', async () => {
  using dense = await DenseModel.load(device, hub);
  await fails(() => collect(dense.generate([1], { gates: true })), 'BAD_OPTION', /only stitched models have/);
  await fails(async () => dense.createCache(1, 4, { gates: {} }), 'BAD_OPTION', /only stitched models have/);
  using model = await create();
  await fails(() => collect(model.generate([1], { gates: { quantiles: [2] } })), 'BAD_OPTION', /quantile.*not 2/);
  await fails(() => model.gates([1], 1, { quantile: [0] } as object), 'BAD_OPTION', /no option 'quantile'/);
});

records.run();
