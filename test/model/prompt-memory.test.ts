/** A prompt that goes on from the one before it, as the turns of a conversation do, computes only what is new. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { EnsembleModel } from '../../lib/model/baselines/ensemble.js';
import { RoutedModel } from '../../lib/model/baselines/routed.js';
import { generate } from '../../lib/model/decoding/generate.js';
import { PromptMemory } from '../../lib/model/decoding/prompt-memory.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import type { LanguageModel } from '../../lib/model/language-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { collect } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, close, liveBytes, randomTokens, writeModel } from '../support/models.js';

const memories = suite('prompt memory');
const device = openCpu();
let folder: string;
let members: { hub: string; experts: Record<string, string> };

memories.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-memory-'));
  const config = { ...CONFIGS.llama, maxPositions: 200 };
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed, config });
  members = { hub: await write('hub', 1), experts: { code: await write('code', 2), math: await write('math', 3) } };
});
memories.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

/** Counts the tokens that a model computes. */
function counted(model: LanguageModel): { tokens: number } {
  const count = { tokens: 0 };
  const next = model.next.bind(model);
  model.next = (cache, ids, draws) => {
    count.tokens += ids.length;
    return next(cache, ids, draws);
  };
  return count;
}

const OPTIONS = { maxTokens: 10, temperature: 0.7, seed: 4, stopTokens: [] };

const systems: [name: string, cuts: boolean, create: () => Promise<LanguageModel>][] = [
  ['a dense model', true, () => DenseModel.load(device, members.hub)],
  ['a stitched model', true, () => StitchedModel.create(device, members)],
  ['an ensemble', false, () => EnsembleModel.create(device, members)],
  ['a router of sequences', false, () => RoutedModel.create(device, members)],
];
for (const [name, cuts, create] of systems) {
  memories(`${name} answers turn by turn as it answers each whole conversation`, async () => {
    const before = await liveBytes(device);
    {
      using model = await create();
      const gates = model.hasGates;
      using memory = new PromptMemory();
      let prompt = [...randomTokens(30, 1)];
      for (let turn = 0; turn < 5; turn++) {
        const expected = await collect(model.generate(prompt, { ...OPTIONS, gates }));
        const count = counted(model);
        const told = await collect(generate(model, prompt, { ...OPTIONS, gates }, memory));
        assert.equal(
          told.map(({ id, finish }) => [id, finish]),
          expected.map(({ id, finish }) => [id, finish]),
        );
        for (const [i, token] of gates ? told.entries() : []) {
          const means = (of: typeof token) => of.gates!.stitches.flatMap(({ mean }) => mean);
          close(means(token), means(expected[i]!), 1e-4, 'gates');
        }
        // But the first turn, each has a last token of an answer and seven of a question that are new.
        const isNew = turn > 0 && cuts ? 8 : prompt.length;
        assert.is(count.tokens, isNew + 9, `turn ${turn}`);
        prompt = [...prompt, ...told.map(({ id }) => id), ...randomTokens(7, 10 + turn)];
      }
      // The same question in other words, and another conversation.
      for (const other of [[...prompt.slice(0, -3), 9, 9], [...randomTokens(12, 77)]]) {
        const expected = await collect(model.generate(other, OPTIONS));
        const told = await collect(generate(model, other, OPTIONS, memory));
        assert.equal(told, expected);
      }
    }
    assert.is(await liveBytes(device), before, 'all caches were given back');
  });
}

memories('an answer that was stopped is gone on from, and another model begins anew', async () => {
  using model = await StitchedModel.load(device, await stitched());
  using memory = new PromptMemory();
  const prompt = [...randomTokens(40, 1)];
  let stopped = 0;
  for await (const _ of generate(model, prompt, OPTIONS, memory)) if (++stopped === 3) break;
  for (const one of [model, model.without(['math']), model]) {
    const told = await collect(generate(one, [...prompt, 5], OPTIONS, memory));
    assert.equal(told, await collect(one.generate([...prompt, 5], OPTIONS)));
  }
});

async function stitched(): Promise<string> {
  const path = join(folder, 'stitched');
  using created = await StitchedModel.create(device, members);
  await replaceFolder(path, (temporary) => created.write(temporary));
  return path;
}

memories.run();
