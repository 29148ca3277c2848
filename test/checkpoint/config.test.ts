import { existsSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configToJson, parseConfig } from '../../lib/checkpoint/config.js';
import { readConfig } from '../../lib/checkpoint/dense-checkpoint.js';
import { fails, inFolder } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';
import { type FlatConfig, flat } from '../support/flat-config.js';
import { TINY } from './checkpoint-fixtures.js';

type Json = Record<string, unknown>;
const LLAMA3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
const QWEN = { model_type: 'qwen2', num_hidden_layers: 4, use_sliding_window: true, sliding_window: 64 };

/** What transformers 4.57 and 5.18 make of a config.json that gives a model_type and nothing else. */
const ASSUMED: Record<string, Partial<FlatConfig>> = {
  llama: {
    vocabularySize: 32000,
    feedForwardWidth: 11008,
    keyValueHeads: 32,
    maxPositions: 2048,
    slidingWindow: null,
    attentionBias: false,
    outputBias: false,
    headNorms: false,
    bosToken: 1,
    eosTokens: [2],
  },
  mistral: {
    vocabularySize: 32000,
    feedForwardWidth: 14336,
    keyValueHeads: 8,
    maxPositions: 131072,
    slidingWindow: 4096,
    attentionBias: false,
    outputBias: false,
    headNorms: false,
    bosToken: 1,
    eosTokens: [2],
  },
  qwen2: {
    vocabularySize: 151936,
    feedForwardWidth: 22016,
    keyValueHeads: 32,
    maxPositions: 32768,
    slidingWindow: null,
    attentionBias: true,
    outputBias: false,
    headNorms: false,
    bosToken: null,
    eosTokens: [],
  },
  qwen3: {
    vocabularySize: 151936,
    feedForwardWidth: 22016,
    keyValueHeads: 32,
    maxPositions: 32768,
    slidingWindow: null,
    attentionBias: false,
    outputBias: false,
    headNorms: true,
    bosToken: null,
    eosTokens: [],
  },
};

for (const [family, assumed] of Object.entries(ASSUMED)) {
  test(`${family} without further keys is what transformers assumes`, () => {
    assert.equal(flat(parseConfig({ model_type: family }, 'x')), {
      family,
      width: 4096,
      layers: 32,
      heads: 32,
      headWidth: 128,
      normEpsilon: 1e-6,
      tiedEmbeddings: false,
      feedForwardBias: false,
      rope: { kind: 'default', theta: 10000 },
      dtype: 'F32',
      ...assumed,
    });
  });
}

const READ: [what: string, json: Json, expected: Partial<FlatConfig>][] = [
  ['key/value heads that are null as equal to the heads', { ...TINY, num_key_value_heads: null }, { keyValueHeads: 2 }],
  ['a head width of its own', { ...TINY, head_dim: 6 }, { headWidth: 6 }],
  ["Qwen3's head width, whatever its width", { model_type: 'qwen3', hidden_size: 1024 }, { headWidth: 128 }],
  [
    "Llama's bias on all four projections",
    { ...TINY, attention_bias: true },
    { attentionBias: true, outputBias: true },
  ],
  ["Llama's feed-forward bias", { ...TINY, mlp_bias: true }, { feedForwardBias: true }],
  ["Qwen3's bias", { model_type: 'qwen3', attention_bias: true }, { attentionBias: true, outputBias: true }],
  [
    'no bias where Mistral has none',
    { model_type: 'mistral', attention_bias: true, mlp_bias: true },
    { attentionBias: false, feedForwardBias: false },
  ],
  ['no output bias where Qwen2 has none', { model_type: 'qwen2', attention_bias: true }, { outputBias: false }],
  ['the old rope', { ...TINY, rope_theta: 5e5, rope_scaling: null }, { rope: { kind: 'default', theta: 5e5 } }],
  [
    'the new rope',
    { ...TINY, rope_parameters: { rope_type: 'default', rope_theta: 5e5 } },
    { rope: { kind: 'default', theta: 5e5 } },
  ],
  [
    'a new rope whose theta stands outside',
    { ...TINY, rope_theta: 7, rope_parameters: { rope_type: 'default' } },
    { rope: { kind: 'default', theta: 7 } },
  ],
  ['a scaling that is empty', { ...TINY, rope_theta: 7, rope_scaling: {} }, { rope: { kind: 'default', theta: 7 } }],
  [
    'linear scaling in the oldest style',
    { ...TINY, rope_scaling: { type: 'linear', factor: 2 } },
    { rope: { kind: 'linear', theta: 10000, factor: 2 } },
  ],
  [
    'linear scaling in the newest style',
    { ...TINY, rope_parameters: { rope_type: 'linear', rope_theta: 9, factor: 2 } },
    { rope: { kind: 'linear', theta: 9, factor: 2 } },
  ],
  [
    'llama3 scaling',
    { ...TINY, rope_theta: 5e5, rope_scaling: { ...LLAMA3, original_max_position_embeddings: 16 } },
    {
      rope: {
        kind: 'llama3',
        theta: 5e5,
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaxPositions: 16,
      },
    },
  ],
  [
    'llama3 scaling without its original length',
    { ...TINY, max_position_embeddings: 99, rope_parameters: LLAMA3 },
    {
      rope: {
        kind: 'llama3',
        theta: 10000,
        factor: 8,
        lowFrequencyFactor: 1,
        highFrequencyFactor: 4,
        originalMaxPositions: 99,
      },
    },
  ],
  ['no window in Llama', { ...TINY, sliding_window: 64, use_sliding_window: true }, { slidingWindow: null }],
  ["Mistral's window", { model_type: 'mistral', sliding_window: 64 }, { slidingWindow: 64 }],
  ["Mistral's window that is null", { model_type: 'mistral', sliding_window: null }, { slidingWindow: null }],
  ["Qwen's window, switched off", { ...QWEN, use_sliding_window: false }, { slidingWindow: null }],
  ["Qwen's window in all layers", { ...QWEN, max_window_layers: 0 }, { slidingWindow: 64 }],
  ["Qwen's window above the last layer", { ...QWEN, max_window_layers: 4 }, { slidingWindow: null }],
  [
    'a window listed for all layers',
    { ...QWEN, layer_types: Array(4).fill('sliding_attention') },
    { slidingWindow: 64 },
  ],
  [
    'a window listed for no layer',
    { ...QWEN, max_window_layers: 0, layer_types: Array(4).fill('full_attention') },
    { slidingWindow: null },
  ],
  ['the old dtype', { ...TINY, torch_dtype: 'bfloat16' }, { dtype: 'BF16' }],
  ['the new dtype before the old', { ...TINY, dtype: 'float16', torch_dtype: 'bfloat16' }, { dtype: 'F16' }],
  ["a dtype by PyTorch's full name", { ...TINY, torch_dtype: 'torch.bfloat16' }, { dtype: 'BF16' }],
  ['a dtype by its short name', { ...TINY, torch_dtype: 'half' }, { dtype: 'F16' }],
  ['a dtype that is left open', { ...TINY, torch_dtype: 'auto' }, { dtype: 'F32' }],
  ['a dtype of 64 bits', { ...TINY, dtype: 'float64' }, { dtype: 'F32' }],
  ['a dtype that is null', { ...TINY, torch_dtype: null, dtype: null }, { dtype: 'F32' }],
  [
    'switches that are null as off',
    { ...TINY, tie_word_embeddings: null, attention_bias: null, mlp_bias: null, use_sliding_window: null },
    { tiedEmbeddings: false, attentionBias: false, feedForwardBias: false, slidingWindow: null },
  ],
  [
    'numbers that are null as absent',
    {
      ...QWEN,
      use_sliding_window: null,
      max_window_layers: null,
      rope_theta: null,
      partial_rotary_factor: null,
      original_max_position_embeddings: null,
      layer_types: null,
    },
    { slidingWindow: null, rope: { kind: 'default', theta: 10000 } },
  ],
  [
    'a rope whose values are null as absent',
    { ...TINY, rope_scaling: { type: null, rope_theta: null, factor: null }, rope_parameters: null },
    { rope: { kind: 'default', theta: 10000 } },
  ],
  ['several end-of-text tokens, each once', { ...TINY, eos_token_id: [4, 2, 4] }, { eosTokens: [4, 2] }],
  ['no special tokens', { ...TINY, eos_token_id: null, bos_token_id: null }, { eosTokens: [], bosToken: null }],
  [
    'keys it does not know',
    { ...TINY, attention_dropout: 0.5, no_such_key: 1, transformers_version: '9' },
    { layers: 2 },
  ],
];

for (const [what, json, expected] of READ) {
  test(`reads ${what}`, () => {
    const config: Json = { ...flat(parseConfig(json, 'x')) };
    for (const [key, value] of Object.entries(expected)) assert.equal(config[key], value, key);
  });
}

const BAD: [what: string, json: unknown, message: RegExp][] = [
  ['null', null, /expected object/],
  ['an array', [], /expected object/],
  ['no model_type', {}, /a model_type among llama, mistral, qwen2, qwen3, .*; got nothing/],
  ['another family', { model_type: 'gpt2' }, /got "gpt2"/],
  ['an inherited family', { model_type: 'constructor' }, /got "constructor"/],
  ['a mixture of experts', { model_type: 'mixtral' }, /got "mixtral"/],
  ['hidden experts', { ...TINY, num_local_experts: 8 }, /num_local_experts is set/],
  ['layers that differ', { ...TINY, per_layer_config: { 0: {} } }, /per_layer_config is set/],
  [
    'a model without a head',
    { ...TINY, architectures: ['LlamaModel'] },
    /expected the architecture LlamaForCausalLM.*LlamaModel/,
  ],
  ['a classifier', { ...TINY, architectures: ['LlamaForSequenceClassification'] }, /expected the architecture/],
  ['another activation', { ...TINY, hidden_act: 'relu' }, /hidden_act: .*"silu"/],
  ['a width of zero', { ...TINY, hidden_size: 0 }, /hidden_size: /],
  ['a negative number of layers', { ...TINY, num_hidden_layers: -1 }, /num_hidden_layers: /],
  ['half a layer', { ...TINY, num_hidden_layers: 1.5 }, /num_hidden_layers: /],
  ['a width that is a string', { ...TINY, hidden_size: '8' }, /hidden_size: /],
  ['a width that is null', { ...TINY, hidden_size: null }, /hidden_size: /],
  ['a billion layers', { ...TINY, num_hidden_layers: 1e9 }, /num_hidden_layers: /],
  ['an absurd vocabulary', { ...TINY, vocab_size: 2 ** 40 }, /vocab_size: /],
  ['an infinite epsilon', { ...TINY, rms_norm_eps: Number.POSITIVE_INFINITY }, /rms_norm_eps: /],
  ['an epsilon of zero', { ...TINY, rms_norm_eps: 0 }, /rms_norm_eps: /],
  [
    'a width that heads do not divide',
    { ...TINY, hidden_size: 9 },
    /hidden_size 9 is no multiple of num_attention_heads 2/,
  ],
  [
    'heads that key/value heads do not divide',
    { ...TINY, num_attention_heads: 4, num_key_value_heads: 3 },
    /4 is no multiple of num_key_value_heads 3/,
  ],
  ['more key/value heads than heads', { ...TINY, num_key_value_heads: 4 }, /2 is no multiple of num_key_value_heads 4/],
  ['an odd head width', { ...TINY, head_dim: 5 }, /even head width, got 5/],
  ['yarn scaling', { ...TINY, rope_scaling: { type: 'yarn', factor: 4 } }, /only default, linear and llama3/],
  [
    'dynamic scaling',
    { ...TINY, rope_parameters: { rope_type: 'dynamic', factor: 4 } },
    /only default, linear and llama3/,
  ],
  ['longrope scaling', { ...TINY, rope_scaling: { rope_type: 'longrope' } }, /only default, linear and llama3/],
  ['scaling that is a string', { ...TINY, rope_scaling: 'linear' }, /expected object/],
  ['linear scaling without a factor', { ...TINY, rope_scaling: { type: 'linear' } }, /factor: /],
  ['a factor below one', { ...TINY, rope_scaling: { type: 'linear', factor: 0.5 } }, /factor: /],
  [
    'llama3 scaling without frequencies',
    { ...TINY, rope_scaling: { rope_type: 'llama3', factor: 8 } },
    /low_freq_factor: /,
  ],
  [
    'llama3 frequencies that are equal',
    { ...TINY, rope_scaling: { ...LLAMA3, low_freq_factor: 4 } },
    /low_freq_factor must be below/,
  ],
  [
    'two original lengths',
    { ...TINY, original_max_position_embeddings: 8, rope_scaling: { ...LLAMA3, original_max_position_embeddings: 16 } },
    /two values for original_max/,
  ],
  ['a theta of zero', { ...TINY, rope_theta: 0 }, /rope_theta: /],
  [
    'rope that differs between layers',
    { ...TINY, rope_parameters: { full_attention: { rope_type: 'default' } } },
    /differ between layers/,
  ],
  ['heads rotated in part', { ...TINY, partial_rotary_factor: 0.5 }, /rotated in part/],
  ['heads rotated in part, new style', { ...TINY, rope_parameters: { partial_rotary_factor: 0.5 } }, /rotated in part/],
  [
    'sliding layers without a window',
    { ...QWEN, use_sliding_window: false, layer_types: Array(4).fill('sliding_attention') },
    /4 of 4 layers slide over a window of null/,
  ],
  ['a list for other layers', { ...QWEN, layer_types: ['full_attention'] }, /1 entries for 4 layers/],
  ['an unknown kind of layer', { ...QWEN, layer_types: Array(4).fill('linear_attention') }, /layer_types/],
  [
    'a list that contradicts Mistral',
    { model_type: 'mistral', layer_types: Array(32).fill('full_attention') },
    /contradicts sliding_window 4096/,
  ],
  ['sliding layers in Llama', { ...TINY, layer_types: Array(2).fill('sliding_attention') }, /2 of 2 layers slide/],
  ['a dtype of 8 bits', { ...TINY, torch_dtype: 'float8_e4m3fn' }, /torch_dtype: /],
  ['a negative token', { ...TINY, eos_token_id: -1 }, /eos_token_id: /],
  ['a token that is a string', { ...TINY, bos_token_id: '1' }, /bos_token_id: /],
];

for (const [what, json, message] of BAD) {
  test(`refuses ${what}`, async () => {
    await fails(() => parseConfig(json, 'some/config.json'), 'BAD_CONFIG', message);
    await fails(() => parseConfig(json, 'some/config.json'), 'BAD_CONFIG', /^'some\/config.json': .{1,600}$/);
  });
}

test('what is nested too deeply is told in a line', async () => {
  let deep: unknown = 0;
  for (let depth = 0; depth < 50_000; depth++) deep = [deep];
  const refused = (json: Json) => fails(() => parseConfig(json, 'x'), 'BAD_CONFIG', /^.*nested too deeply.{0,99}$/);
  await refused({ model_type: deep });
  await refused({ model_type: 'llama', architectures: deep });
  await refused({ model_type: 'llama', rope_scaling: { rope_type: deep } });
});

test('what it writes, it reads back unchanged', () => {
  for (const [what, json] of READ) {
    const config = parseConfig(json, 'x');
    const written = JSON.parse(JSON.stringify(configToJson(config)));
    assert.equal(parseConfig(written, 'x'), config, what);
  }
});

test('what it writes says the same in the old style and the new', () => {
  for (const [what, json] of READ) {
    const config = parseConfig(json, 'x');
    const { rope_parameters, dtype, ...old } = configToJson(config);
    const { rope_theta, rope_scaling, torch_dtype, ...young } = configToJson(config);
    assert.equal(parseConfig(old, 'x'), config, what);
    assert.equal(parseConfig(young, 'x'), config, what);
  }
});

test('generation_config.json has the last word on where to stop', async () => {
  const config = JSON.stringify({ ...TINY, eos_token_id: 5 });
  const eos = (generation: string) =>
    inFolder({ 'config.json': config, 'generation_config.json': generation }, async (folder) => {
      result = (await readConfig(folder)).eosTokens;
    });
  let result: readonly number[] = [];
  await eos('{"eos_token_id":[7,8]}');
  assert.equal(result, [7, 8]);
  await eos('{"eos_token_id":0}');
  assert.equal(result, [0]);
  await eos('{"eos_token_id":null}');
  assert.equal(result, [5]);
  await eos('{}');
  assert.equal(result, [5]);
  await fails(() => eos('{"eos_token_id":"x"}'), 'BAD_CONFIG', /generation_config.json': eos_token_id/);
  await fails(() => eos('[]'), 'BAD_CONFIG', /generation_config.json'/);
  await fails(() => eos(''), 'BAD_CONFIG', /generation_config.json' is not valid JSON/);
});

test('a config.json that cannot be read is named', async () => {
  await inFolder({}, (folder) => fails(() => readConfig(folder), 'FILE_NOT_FOUND', /config.json' does not exist/));
  await inFolder({ 'config.json': '{"a":}' }, (folder) =>
    fails(() => readConfig(folder), 'BAD_CONFIG', /config.json' is not valid JSON/),
  );
  await inFolder({ 'config.json': Buffer.alloc((16 << 20) + 1, ' ') }, (folder) =>
    fails(() => readConfig(folder), 'BAD_CONFIG', /16777217 bytes/),
  );
});

test('reads the configurations of the shared material', async () => {
  if (!existsSync(shared('goldens'))) return console.log('shared/goldens: skipped');
  const hub = async (name: string) => flat(await readConfig(shared(`goldens/${name}/hub`)));
  const paper = await hub('llama-mqa-paper');
  assert.equal([paper.keyValueHeads, paper.rope, paper.dtype], [1, { kind: 'default', theta: 500000 }, 'BF16']);
  const qwen = await hub('qwen2-tied-scalar-gate');
  assert.equal([qwen.family, qwen.tiedEmbeddings, qwen.attentionBias, qwen.outputBias], ['qwen2', true, true, false]);
  const { rope } = await hub('llama3-rope-two-models');
  assert.equal(rope, {
    kind: 'llama3',
    theta: 10000,
    factor: 8,
    lowFrequencyFactor: 1,
    highFrequencyFactor: 4,
    originalMaxPositions: 16,
  });
  const stories = flat(await readConfig(shared('data/models/stories260K')));
  assert.equal([stories.heads, stories.keyValueHeads, stories.headWidth, stories.eosTokens], [8, 4, 8, [1, 2]]);
});

test.run();
