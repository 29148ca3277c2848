import { existsSync } from 'node:fs';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { fails } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';
import { type FlatConfig, varied } from '../support/flat-config.js';
import { CONFIGS, difference, liveBytes, writeModel } from '../support/models.js';
import { stitchedModels } from '../support/stitched-models.js';

const stitched = suite('members of a stitched model');
const { device, experts, ids, newFolder, create, createRandom, save } = stitchedModels(stitched);

stitched('members may differ in precision, rotary positions, ties and what tokens end a text', async () => {
  const config = varied(CONFIGS.llama, { tiedEmbeddings: true, maxPositions: 128, eosTokens: [] });
  const other = await writeModel(device, newFolder(), {
    seed: 4,
    config: varied(config, { rope: { kind: 'linear', theta: 5e5, factor: 2 } }),
    dtype: 'f16',
  });
  using model = await createRandom({ experts: { ...experts, other } });
  assert.is(model.config.maxPositions, 64, 'the hub decides');
  assert.equal(model.stopTokens, [256]);
  const logits = await model.logits(ids, 2);
  const folder = await save(model);
  using loaded = await StitchedModel.load(device, folder);
  assert.equal(await loaded.logits(ids, 2), logits);
  // With its rotary positions exchanged for the hub's, the expert says something else.
  const plain = await writeModel(device, newFolder(), { seed: 4, config, dtype: 'f16' });
  using without = await createRandom({ experts: { ...experts, other: plain } });
  assert.ok(difference(await without.logits(ids, 2), logits) > 1e-3);
});

const differing: [name: string, change: Partial<FlatConfig>, reasons: RegExp[]][] = [
  ['layers', { layers: 4 }, [/odd has layers 4, the hub 3/]],
  ['width', { width: 20, heads: 5, keyValueHeads: 5 }, [/width 20, the hub 16/, /heads 5, the hub 4/]],
  ['feed-forward width', { feedForwardWidth: 25 }, [/feedForwardWidth 25, the hub 24/]],
  ['heads for keys and values', { keyValueHeads: 4 }, [/keyValueHeads 4, the hub 2/]],
  ['vocabulary', { vocabularySize: 300 }, [/vocabularySize 300, the hub 257/]],
  ['biases', { family: 'qwen2', attentionBias: true }, [/attentionBias true, the hub false/]],
  ['head norms', { family: 'qwen3', headNorms: true }, [/headNorms head, the hub none/]],
  ['a window', { family: 'mistral', slidingWindow: 8 }, [/slidingWindow 8, the hub null/]],
  ['the norms', { normEpsilon: 1e-6 }, [/normEpsilon 0.000001, the hub 0.00001/]],
];
for (const [name, change, reasons] of differing) {
  stitched(`a member that differs in ${name} is refused with the reason`, async () => {
    const live = await liveBytes(device);
    const odd = await writeModel(device, newFolder(), { config: varied(CONFIGS.llama, change) });
    for (const reason of reasons) await fails(() => create({ experts: { ...experts, odd } }), 'MEMBERS_DIFFER', reason);
    assert.is(await liveBytes(device), live);
  });
}

stitched('a member with another tokenizer is refused', async () => {
  const odd = await writeModel(device, newFolder(), { endOfText: '</s>' });
  await fails(() => create({ experts: { odd } }), 'MEMBERS_DIFFER', /tokenizers of the hub.*of odd/);
});

const [stories, dreams] = ['stories260K', 'aidreams260K'].map((name) => shared(`data/models/${name}`)) as [
  string,
  string,
];
if (!existsSync(stories) || !existsSync(dreams)) console.log(`stitched model: skipped, there is no ${stories}`);
else {
  stitched('two trained models of other tokenizers, layers and heads are refused with the reasons', async () => {
    const pair = { hub: stories, experts: { dreams } };
    await fails(() => create(pair), 'MEMBERS_DIFFER', /tokenizers of the hub.*and of dreams/);
    const bare = { hub: newFolder(), experts: { dreams: newFolder() } };
    for (const [from, to] of [
      [stories, bare.hub],
      [dreams, bare.experts.dreams],
    ] as const) {
      await mkdir(to);
      for (const name of ['config.json', 'model.safetensors']) await cp(join(from, name), join(to, name));
    }
    for (const reason of [/layers 4, the hub 5/, /heads 4, the hub 8/, /headWidth 16, the hub 8/]) {
      await fails(() => create(bare), 'MEMBERS_DIFFER', reason);
    }
  });

  stitched('a trained model stitched with copies of itself tells the same story', async () => {
    using alone = await DenseModel.load(device, stories);
    using model = await create({ hub: stories, experts: { copy: stories } });
    const options = { temperature: 0, maxTokens: 40 };
    const texts = [];
    for (const teller of [alone, model]) {
      let text = '';
      for await (const token of teller.generate('Once upon a time', options)) text += token.text;
      texts.push(text);
    }
    assert.is(texts[1], texts[0]);
  });
}

const badOptions: [name: string, options: object, code: ErrorCode, message: RegExp][] = [
  ['no experts', { experts: {} }, 'BAD_OPTION', /at least one expert/],
  ["an expert called 'hub'", { experts: { hub: 'x' } }, 'BAD_OPTION', /'hub' cannot name an expert/],
  ['an expert whose name is a path', { experts: { 'a/b': 'x' } }, 'BAD_OPTION', /'a\/b' cannot name/],
  ['an expert without a name', { experts: { '': 'x' } }, 'BAD_OPTION', /'' cannot name/],
  ['no stitches', { stitches: 0 }, 'BAD_OPTION', /stitches must be a whole number from 1 on, not 0/],
  ['more stitches than layers', { stitches: 4 }, 'BAD_OPTION', /1 to the 3 layers, not 4/],
  ['an empty plan', { plan: [] }, 'BAD_STITCH', /last stitch/],
  ['a plan beyond the layers', { plan: [{ afterLayer: 4, kind: 'experts_into_hub' }] }, 'BAD_STITCH', /1 to 3/],
  ['a plan of unknown kind', { plan: [{ afterLayer: 3, kind: 'sideways' }] }, 'BAD_OPTION', /plan\.0\.kind/],
  ['an unknown gate', { gate: 'golden' }, 'BAD_OPTION', /gate/],
  ['an unknown beginning', { init: 'expert' }, 'BAD_OPTION', /init/],
  ['an unknown sequel', { expertsAfterMerge: 'gone' }, 'BAD_OPTION', /expertsAfterMerge/],
  ['dropout of everything', { dropout: 1 }, 'BAD_OPTION', /dropout/],
  ['dropout below zero', { dropout: -0.1 }, 'BAD_OPTION', /dropout/],
  ['dropout that is no number', { dropout: Number.NaN }, 'BAD_OPTION', /dropout/],
  ['a hub that is not there', { hub: '/nowhere' }, 'FILE_NOT_FOUND', /\/nowhere/],
  ['a rank of 0', { rank: 0 }, 'BAD_OPTION', /rank/],
  ['a rank that is none', { rank: 16 }, 'BAD_OPTION', /a rank of 16 is none below the members' 16 channels/],
  ['an expert that is not there', { experts: { code: '/nowhere' } }, 'FILE_NOT_FOUND', /\/nowhere/],
  ['a signal that fired', { signal: AbortSignal.abort() }, 'ABORTED', /stopped/],
];
for (const [name, options, code, message] of badOptions) {
  stitched(`${name} is refused`, async () => {
    await fails(() => create(options), code, message);
    assert.is(await liveBytes(device), 0);
  });
}

stitched('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

stitched.run();
