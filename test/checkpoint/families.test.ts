/** How each family's config.json is read and written, and what its weights are called. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { configToJson, parseConfig } from '../../lib/checkpoint/config.js';
import { readConfig } from '../../lib/checkpoint/dense-checkpoint.js';
import { FAMILIES, familyOf } from '../../lib/checkpoint/families/index.js';
import { type ModelConfig, ropeEverywhere, ropeOf, windowOf } from '../../lib/checkpoint/model-config.js';
import { fails } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';

type Json = Record<string, unknown>;

const read = (json: Json) => parseConfig(json, 'x');
const layers = (count: number, which: (index: number) => boolean = () => true) =>
  Array.from({ length: count }, (_, index) => index).filter(which);

const plain = (heads: number, keyValueHeads: number, headWidth: number): ModelConfig['attention'] => ({
  heads,
  keyValueHeads,
  headWidth,
  bias: false,
  outputBias: false,
  queryKeyNorm: 'none',
  scale: 1 / Math.sqrt(headWidth),
  softcap: null,
  window: null,
});
const theta = (value: number) => ({ kind: 'default', theta: value }) as const;

/** What transformers 5.18 makes of a config.json that gives a model_type and nothing else. */
const ASSUMED: ModelConfig[] = [
  {
    family: 'gemma2',
    vocabularySize: 256000,
    width: 2304,
    layers: 26,
    maxPositions: 8192,
    attention: {
      ...plain(8, 4, 256),
      scale: 1 / 16,
      softcap: 50,
      window: { tokens: 4096, layers: layers(26, (index) => index % 2 === 0) },
    },
    feedForward: { width: 9216, activation: 'geluTanh', bias: false },
    norm: { epsilon: 1e-6, offset: 1, place: 'both' },
    rope: ropeEverywhere(theta(10000), 256),
    embedding: { tied: true, scale: 48 },
    logitSoftcap: 30,
    bosToken: 2,
    eosTokens: [1],
    dtype: 'F32',
  },
  {
    family: 'gemma3_text',
    vocabularySize: 262208,
    width: 2304,
    layers: 26,
    maxPositions: 131072,
    attention: {
      ...plain(8, 4, 256),
      scale: 1 / 16,
      queryKeyNorm: 'head',
      window: { tokens: 4096, layers: layers(26, (index) => ![5, 11, 17, 23].includes(index)) },
    },
    feedForward: { width: 9216, activation: 'geluTanh', bias: false },
    norm: { epsilon: 1e-6, offset: 1, place: 'both' },
    rope: { width: 256, global: theta(1e6), local: theta(1e4), skipped: [] },
    embedding: { tied: true, scale: 48 },
    logitSoftcap: null,
    bosToken: 2,
    eosTokens: [1],
    dtype: 'F32',
  },
  {
    family: 'phi3',
    vocabularySize: 32064,
    width: 3072,
    layers: 32,
    maxPositions: 4096,
    attention: plain(32, 32, 96),
    feedForward: { width: 8192, activation: 'silu', bias: false },
    norm: { epsilon: 1e-5, offset: 0, place: 'before' },
    rope: ropeEverywhere(theta(10000), 96),
    embedding: { tied: false, scale: 1 },
    logitSoftcap: null,
    bosToken: 1,
    eosTokens: [32000],
    dtype: 'F32',
  },
  {
    family: 'olmo2',
    vocabularySize: 50304,
    width: 4096,
    layers: 32,
    maxPositions: 2048,
    attention: { ...plain(32, 32, 128), queryKeyNorm: 'projection' },
    feedForward: { width: 11008, activation: 'silu', bias: false },
    norm: { epsilon: 1e-5, offset: 0, place: 'after' },
    rope: ropeEverywhere(theta(10000), 128),
    embedding: { tied: false, scale: 1 },
    logitSoftcap: null,
    bosToken: null,
    eosTokens: [50279],
    dtype: 'F32',
  },
  {
    family: 'smollm3',
    vocabularySize: 128256,
    width: 2048,
    layers: 36,
    maxPositions: 32768,
    attention: plain(16, 4, 128),
    feedForward: { width: 11008, activation: 'silu', bias: false },
    norm: { epsilon: 1e-6, offset: 0, place: 'before' },
    rope: { ...ropeEverywhere(theta(2e6), 128), skipped: [3, 7, 11, 15, 19, 23, 27, 31, 35] },
    embedding: { tied: true, scale: 1 },
    logitSoftcap: null,
    bosToken: 128000,
    eosTokens: [128001],
    dtype: 'F32',
  },
];

for (const assumed of ASSUMED) {
  test(`${assumed.family} without further keys is what transformers assumes`, () => {
    assert.equal(read({ model_type: assumed.family }), assumed);
  });
}

const SMALL = {
  vocab_size: 11,
  hidden_size: 24,
  intermediate_size: 12,
  num_hidden_layers: 4,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};
const json = (type: string, more: Json): Json => ({ model_type: type, ...SMALL, ...more });
const FACTORS = { short_factor: [1, 1.5, 2, 2.5, 3, 3.5], long_factor: [2, 3, 4, 5, 6, 7] };
const SLIDING = ['full_attention', 'sliding_attention', 'sliding_attention', 'full_attention'];

const READ: [what: string, json: Json, expected: (config: ModelConfig) => [got: unknown, want: unknown]][] = [
  [
    "Gemma 2's windows as they are listed",
    json('gemma2', { layer_types: SLIDING, sliding_window: 8 }),
    ({ attention }) => [attention.window, { tokens: 8, layers: [1, 2] }],
  ],
  [
    'Gemma 2 without caps',
    json('gemma2', { attn_logit_softcapping: null, final_logit_softcapping: null }),
    ({ attention, logitSoftcap }) => [
      [attention.softcap, logitSoftcap],
      [null, null],
    ],
  ],
  [
    'Gemma 2 whose layers all see everything, and which need no window',
    json('gemma2', { layer_types: Array(4).fill('full_attention'), sliding_window: null }),
    ({ attention }) => [attention.window, null],
  ],
  [
    "a scale of Gemma 2's own",
    json('gemma2', { query_pre_attn_scalar: 144, head_dim: 6 }),
    ({ attention }) => [
      [attention.scale, attention.headWidth],
      [1 / 12, 6],
    ],
  ],
  [
    'Gemma 2 with the exact GELU, biases, and a head of its own',
    json('gemma2', { hidden_activation: 'gelu', attention_bias: true, tie_word_embeddings: false }),
    ({ feedForward, attention, embedding }) => [
      [feedForward.activation, attention.bias, attention.outputBias, embedding.tied],
      ['gelu', true, true, false],
    ],
  ],
  [
    "Gemma 3's pattern, as transformers 4 wrote it",
    json('gemma3_text', { sliding_window_pattern: 2, sliding_window: 8 }),
    ({ attention }) => [attention.window, { tokens: 8, layers: [0, 2] }],
  ],
  [
    "Gemma 3's two rotations, old style",
    json('gemma3_text', {
      rope_theta: 5e5,
      rope_local_base_freq: 1234,
      rope_scaling: { rope_type: 'linear', factor: 8 },
    }),
    ({ rope }) => [
      [rope.global, rope.local],
      [{ kind: 'linear', theta: 5e5, factor: 8 }, theta(1234)],
    ],
  ],
  [
    "Gemma 3's two rotations, new style",
    json('gemma3_text', {
      rope_parameters: {
        full_attention: { rope_type: 'linear', factor: 8, rope_theta: 5e5 },
        sliding_attention: { rope_type: 'default', rope_theta: 1234 },
      },
    }),
    ({ rope }) => [
      [rope.global, rope.local],
      [{ kind: 'linear', theta: 5e5, factor: 8 }, theta(1234)],
    ],
  ],
  [
    'Gemma 3 with one rotation given',
    json('gemma3_text', { rope_parameters: { full_attention: null, sliding_attention: { rope_theta: 77 } } }),
    ({ rope }) => [
      [rope.global, rope.local],
      [theta(1e6), theta(77)],
    ],
  ],
  [
    'each layer of Gemma 3 with the rotation of its kind',
    json('gemma3_text', { layer_types: SLIDING }),
    (config) => [
      layers(4).map((index) => [windowOf(config, index), ropeOf(config, index)?.theta]),
      [
        [null, 1e6],
        [4096, 1e4],
        [4096, 1e4],
        [null, 1e6],
      ],
    ],
  ],
  [
    "a cap on Gemma 3's logits",
    json('gemma3_text', { final_logit_softcapping: 20, attn_logit_softcapping: 9 }),
    // Transformers has a key for a cap on scores, but does not use it.
    ({ attention, logitSoftcap }) => [
      [attention.softcap, logitSoftcap],
      [null, 20],
    ],
  ],
  [
    'Phi rotated in part',
    json('phi3', { partial_rotary_factor: 0.75 }),
    ({ rope, attention }) => [
      [rope.width, attention.headWidth],
      [9, 12],
    ],
  ],
  [
    'Phi rotated in part, new style',
    json('phi3', { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } }),
    ({ rope }) => [rope.width, 6],
  ],
  [
    'Phi with a window, which is that of all layers',
    json('phi3', { sliding_window: 5 }),
    ({ attention }) => [attention.window, { tokens: 5, layers: [0, 1, 2, 3] }],
  ],
  ...['su', 'yarn', 'longrope'].map((type): (typeof READ)[number] => [
    `LongRoPE by the name of ${type}`,
    json('phi3', { max_position_embeddings: 131072, rope_scaling: { type, ...FACTORS } }),
    ({ rope }) => [
      rope.global,
      {
        kind: 'longrope',
        theta: 10000,
        shortFactors: FACTORS.short_factor,
        longFactors: FACTORS.long_factor,
        // 32 times 4096 tokens.
        attentionFactor: Math.sqrt(1 + Math.log(32) / Math.log(4096)),
        originalMaxPositions: 4096,
      },
    ],
  ]),
  [
    'LongRoPE, new style, with a factor of its own',
    json('phi3', {
      max_position_embeddings: 64,
      original_max_position_embeddings: 16,
      rope_parameters: {
        rope_type: 'longrope',
        rope_theta: 5e4,
        attention_factor: 1.25,
        original_max_position_embeddings: 16,
        ...FACTORS,
      },
    }),
    ({ rope }) => [
      rope.global,
      {
        kind: 'longrope',
        theta: 5e4,
        shortFactors: FACTORS.short_factor,
        longFactors: FACTORS.long_factor,
        attentionFactor: 1.25,
        originalMaxPositions: 16,
      },
    ],
  ],
  [
    'OLMo 2 with biases',
    json('olmo2', { attention_bias: true }),
    ({ attention }) => [
      [attention.bias, attention.outputBias],
      [true, true],
    ],
  ],
  [
    'key/value heads that OLMo 2 has none of its own as many as heads',
    json('olmo2', { num_key_value_heads: null }),
    ({ attention }) => [attention.keyValueHeads, 2],
  ],
  [
    'layers of SmolLM 3 that do not rotate',
    json('smollm3', { no_rope_layers: [0, 1, 1, 0, 1, 1] }),
    ({ rope }) => [rope.skipped, [0, 3]],
  ],
  [
    'the interval of those that do not',
    json('smollm3', { no_rope_layer_interval: 2 }),
    (config) => [layers(4).map((index) => ropeOf(config, index) !== null), [true, false, true, false]],
  ],
  [
    "SmolLM 3's window, of the layers that do not rotate",
    json('smollm3', { use_sliding_window: true, sliding_window: 7 }),
    ({ attention }) => [attention.window, { tokens: 7, layers: [3] }],
  ],
  [
    "SmolLM 3's window, switched off",
    json('smollm3', { sliding_window: 7 }),
    ({ attention }) => [attention.window, null],
  ],
  [
    "SmolLM 3's biases",
    json('smollm3', { attention_bias: true, mlp_bias: true }),
    ({ attention, feedForward }) => [
      [attention.bias, feedForward.bias],
      [true, true],
    ],
  ],
  [
    "Qwen's window above the lower layers",
    json('qwen2', { use_sliding_window: true, sliding_window: 64, max_window_layers: 3 }),
    ({ attention }) => [attention.window, { tokens: 64, layers: [3] }],
  ],
  [
    "Qwen's window in the layers listed",
    json('qwen3', { use_sliding_window: true, sliding_window: 64, layer_types: SLIDING }),
    ({ attention }) => [attention.window, { tokens: 64, layers: [1, 2] }],
  ],
  [
    'Llama with GELU',
    json('llama', { hidden_act: 'gelu_new' }),
    ({ feedForward }) => [feedForward.activation, 'geluTanh'],
  ],
];

for (const [what, given, expected] of READ) {
  test(`reads ${what}`, () => {
    const [got, want] = expected(read(given));
    assert.equal(got, want);
  });
}

const BAD: [what: string, json: Json, message: RegExp][] = [
  ['Gemma that looks ahead', json('gemma3_text', { use_bidirectional_attention: true }), /looks ahead/],
  ['Gemma 3 with eyes', { model_type: 'gemma3', text_config: {} }, /got "gemma3"/],
  ['windows without a width', json('gemma2', { sliding_window: null }), /2 of 4 layers slide over a window of null/],
  [
    'one rotation for all layers of Gemma 3',
    json('gemma3_text', { rope_parameters: { rope_type: 'default', rope_theta: 5 } }),
    /by kind of layer/,
  ],
  ['a cap below zero', json('gemma2', { attn_logit_softcapping: -1 }), /attn_logit_softcapping/],
  ['an activation that is not there', json('gemma2', { hidden_activation: 'relu' }), /hidden_act/],
  [
    'another rotation of Phi',
    json('phi3', { rope_scaling: { type: 'linear', factor: 2 } }),
    /only default and longrope/,
  ],
  [
    'too few factors',
    json('phi3', { rope_scaling: { type: 'longrope', short_factor: [1], long_factor: [1] } }),
    /must have 6 entries each.*they have 1 and 1/,
  ],
  [
    'two original lengths',
    json('phi3', {
      original_max_position_embeddings: 16,
      rope_parameters: { rope_type: 'longrope', original_max_position_embeddings: 32, ...FACTORS },
    }),
    /two values for original_max/,
  ],
  ['nothing to rotate', json('phi3', { partial_rotary_factor: 0.01 }), /leaves nothing/],
  ['more rotated than there is', json('phi3', { partial_rotary_factor: 1.5 }), /partial_rotary_factor/],
  ['OLMo 2 with a window', json('olmo2', { layer_types: SLIDING }), /2 of 4 layers slide over a window of null/],
  [
    'a list of too few layers',
    json('smollm3', { no_rope_layers: [1, 0] }),
    /no_rope_layers has 2 entries for 4 layers/,
  ],
  [
    'sliding layers whose window is switched off',
    json('smollm3', { layer_types: SLIDING, sliding_window: 7 }),
    /2 of 4 layers slide over a window of null/,
  ],
  ['heads rotated in part elsewhere', json('olmo2', { partial_rotary_factor: 0.5 }), /rotated in part/],
  ['heads rotated in part in Gemma 3', json('gemma3_text', { partial_rotary_factor: 0.5 }), /rotated in part/],
];

for (const [what, given, message] of BAD) {
  test(`refuses ${what}`, async () => {
    await fails(() => read(given), 'BAD_CONFIG', message);
  });
}

const WRITTEN = [...ASSUMED.map(({ family }) => ({ model_type: family })), ...READ.map(([, given]) => given)];

test('what it writes, it reads back unchanged', () => {
  for (const given of WRITTEN) {
    const config = read(given);
    assert.equal(read(JSON.parse(JSON.stringify(configToJson(config)))), config, JSON.stringify(given));
  }
});

test('what it writes says the same in the old style and the new', () => {
  for (const given of WRITTEN) {
    const config = read(given);
    const { rope_parameters, dtype, ...old } = configToJson(config);
    const { rope_theta, rope_scaling, rope_local_base_freq, partial_rotary_factor, torch_dtype, ...young } =
      configToJson(config);
    assert.equal(read(old), config, `old: ${JSON.stringify(given)}`);
    assert.equal(read(young), config, `young: ${JSON.stringify(given)}`);
  }
});

test('no family is called what another is', () => {
  const types = FAMILIES.map(({ type }) => type);
  assert.is(new Set(types).size, types.length);
  for (const { type } of FAMILIES) assert.is(familyOf({ family: type }).type, type);
});

const names = (type: string, more: Json = {}) => {
  const config = read(json(type, more));
  return familyOf(config)
    .layer(config)
    .map(({ name, shape }) => `${name} [${shape}]`);
};

test("a layer of Gemma 3 has norms before and behind, and the heads'", () => {
  assert.equal(names('gemma3_text', { head_dim: 6 }), [
    'input_layernorm.weight [24]',
    'self_attn.q_proj.weight [12,24]',
    'self_attn.k_proj.weight [6,24]',
    'self_attn.v_proj.weight [6,24]',
    'self_attn.o_proj.weight [24,12]',
    'self_attn.q_norm.weight [6]',
    'self_attn.k_norm.weight [6]',
    'post_attention_layernorm.weight [24]',
    'pre_feedforward_layernorm.weight [24]',
    'mlp.gate_proj.weight [12,24]',
    'mlp.up_proj.weight [12,24]',
    'mlp.down_proj.weight [24,12]',
    'post_feedforward_layernorm.weight [24]',
  ]);
  assert.not(names('gemma2').some((name) => name.includes('q_norm')));
});

test('a layer of OLMo 2 has norms behind its parts, and over all queries and all keys', () => {
  assert.equal(names('olmo2'), [
    'self_attn.q_proj.weight [24,24]',
    'self_attn.k_proj.weight [12,24]',
    'self_attn.v_proj.weight [12,24]',
    'self_attn.o_proj.weight [24,24]',
    'self_attn.q_norm.weight [24]',
    'self_attn.k_norm.weight [12]',
    'post_attention_layernorm.weight [24]',
    'mlp.gate_proj.weight [12,24]',
    'mlp.up_proj.weight [12,24]',
    'mlp.down_proj.weight [24,12]',
    'post_feedforward_layernorm.weight [24]',
  ]);
});

test('a layer of Phi stores what reads the same as one', () => {
  assert.equal(names('phi3'), [
    'input_layernorm.weight [24]',
    'self_attn.qkv_proj.weight [48,24]',
    'self_attn.o_proj.weight [24,24]',
    'post_attention_layernorm.weight [24]',
    'mlp.gate_up_proj.weight [24,24]',
    'mlp.down_proj.weight [24,12]',
  ]);
  const config = read(json('phi3', {}));
  const [, projections] = familyOf(config).layer(config);
  assert.equal(projections!.parts, [
    { role: 'query', rows: 24 },
    { role: 'key', rows: 12 },
    { role: 'value', rows: 12 },
  ]);
});

const golden = shared('goldens-next/families');
if (!existsSync(golden)) console.log('families: skipped, there are no checkpoints of other makers');
else {
  test('reads the configurations of checkpoints that transformers wrote', async () => {
    const hub = (name: string) => readConfig(join(golden, name, 'hub'));
    const gemma2 = await hub('gemma2');
    assert.equal(
      [gemma2.attention.window, gemma2.attention.scale, gemma2.attention.softcap, gemma2.logitSoftcap],
      [{ tokens: 8, layers: [0, 2] }, 1 / Math.sqrt(32), 20, 15],
    );
    const gemma3 = await hub('gemma3-text');
    assert.equal(gemma3.rope, { width: 16, global: theta(1e6), local: theta(1e4), skipped: [] });
    assert.equal((await hub('smollm3')).rope.skipped, [3]);
    assert.is((await hub('phi3')).rope.width, 16);
    assert.is((await hub('olmo2')).attention.queryKeyNorm, 'projection');
  });
}

test.run();
