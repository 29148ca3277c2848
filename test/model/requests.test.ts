/** Many requests at once: what they have in common is computed once, and each gets what it would get alone. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { type GeneratedToken, Generation } from '../../lib/model/decoding/generation.js';
import { checkSampling } from '../../lib/model/decoding/options.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { continuePrompts } from '../../lib/model/requests/continue-prompts.js';
import { groupByPrefix } from '../../lib/model/requests/prefixes.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { liveBytes, writeModel } from '../support/models.js';

const requests = suite('requests');
const device = openCpu();
let folder: string;
let members: { hub: string; experts: Record<string, string> };

requests.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-requests-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed });
  members = { hub: await write('hub', 1), experts: { code: await write('code', 2) } };
});
requests.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const COMMON = Array.from({ length: 30 }, (_, i) => (7 * i) % 256);
const PROMPTS = [...Array.from({ length: 9 }, (_, i) => [...COMMON, i, 2 * i]), [1, 2, 3]];
const OPTIONS = { maxTokens: 12, seed: 5, temperature: 0.8, stop: ['z'], logprobs: 2 };

/** The lanes that `model.generate` would make of the prompts. */
const lanesFor = (model: LanguageModel) =>
  PROMPTS.map((prompt, index) => {
    const { maxTokens, seed, stop, temperature, logprobs } = OPTIONS;
    const stopTokens = new Set(model.stopTokens);
    const sampling = checkSampling({ temperature });
    return new Generation(model, {
      index,
      prompt,
      isText: false,
      sampling,
      maxTokens,
      seed,
      stop,
      stopTokens,
      logprobs,
    });
  });

const systems: [name: string, create: () => Promise<LanguageModel>][] = [
  ['a dense model', () => DenseModel.load(device, members.hub)],
  ['a stitched model', () => StitchedModel.create(device, members)],
  ['an ensemble', () => EnsembleModel.create(device, members)],
];
for (const [name, create] of systems) {
  requests(`${name} continues prompts token by token, as each would go on alone`, async () => {
    const before = await liveBytes(device);
    {
      using model = await create();
      const alone: GeneratedToken[][] = [];
      for (const prompt of PROMPTS) alone.push(await collect(model.generate(prompt, OPTIONS)));
      for (const sharePrefixes of [true, false]) {
        const told: GeneratedToken[][] = PROMPTS.map(() => []);
        const going = continuePrompts(model, lanesFor(model), { batchSize: 3, sharePrefixes });
        for await (const { latest } of going) told[latest.index]!.push(latest);
        for (const [p, tokens] of told.entries()) {
          const plain = ({ id, text, finish }: GeneratedToken) => [id, text, finish];
          assert.equal(tokens.map(plain), alone[p]!.map(plain), `prompt ${p}`);
          for (const [i, { logProbability, topLogProbabilities }] of tokens.entries()) {
            assert.ok(Math.abs(logProbability! - alone[p]![i]!.logProbability!) < 1e-4);
            assert.is(topLogProbabilities!.length, 2);
          }
        }
      }
      const signal = AbortSignal.abort();
      const stopped = () =>
        collect(continuePrompts(model, lanesFor(model), { batchSize: 3, sharePrefixes: true, signal }));
      await fails(stopped, 'ABORTED', /generating was stopped/);
    }
    assert.is(await liveBytes(device), before);
  });
}

requests('sequences are grouped by what they have in common where that saves work', () => {
  const common = Array.from({ length: 200 }, (_, i) => i);
  const sequences = [
    ...Array.from({ length: 4 }, (_, i) => [...common, 1000 + i]),
    ...Array.from({ length: 3 }, (_, i) => [...common.slice(0, 100), 2000 + i]),
    [7, 8],
    [7, 8],
  ];
  const groups = groupByPrefix(sequences);
  assert.equal(
    groups.map(({ prefix, members }) => [prefix, [...members].sort((a, b) => a - b)]),
    [
      [200, [0, 1, 2, 3]],
      [100, [4, 5, 6]],
      [0, [7, 8]],
    ],
  );
  assert.equal(groupByPrefix([]), []);
  assert.equal(groupByPrefix([common, common]), [{ prefix: 199, members: [0, 1] }], 'each keeps a token of its own');
  const short = [
    [1, 2, 3],
    [1, 2, 4],
  ];
  assert.equal(groupByPrefix(short), [{ prefix: 0, members: [0, 1] }], 'a few tokens are not worth a pass');
});

requests.run();
