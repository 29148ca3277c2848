/** Adapters as PEFT writes them: what they mean, and what is refused. */
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { show } from '../../lib/base/show.js';
import { readAdapter } from '../../lib/checkpoint/adapter.js';
import { type AdapterConfig, parseAdapterConfig } from '../../lib/checkpoint/adapter-config.js';
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { openCheckpoint } from '../../lib/checkpoint/dense-checkpoint.js';
import { parameterNames } from '../../lib/checkpoint/names.js';
import { fails } from '../data/data-fixtures.js';
import { type FloatTensor, lowRank, numbers, PEFT_DEFAULTS, writeAdapter } from '../support/adapters.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

const adapter = suite('adapter');

// [O, I] of a tiny Llama: width 16, four heads and two of keys and values, 4 wide.
const Q = [16, 16] as const;
const V = [8, 16] as const;

const MODULES = [...new Set(parameterNames(CONFIGS.llama).map(({ name }) => name.replace(/\.weight$/, '')))];
const isLinear = (module: string) => module.endsWith('_proj');
/** JSON of a hostile file: lists in lists. */
const deep = (levels: number) => JSON.parse('['.repeat(levels) + ']'.repeat(levels)) as object;
const parse = (config: object): AdapterConfig =>
  parseAdapterConfig({ ...PEFT_DEFAULTS, ...config }, (reason) => new BtsError('BAD_ADAPTER', reason));
const found = (config: object) =>
  Object.fromEntries(
    [...parse(config).adaptations(MODULES, isLinear)].map(([module, { rank, scale }]) => [
      module.replace('model.layers.', ''),
      rank === 2 && scale === 2 ? 'plain' : `${rank} x ${Number(scale.toFixed(4))}`,
    ]),
  );

/** The same in all three layers. */
const everywhere = (...names: string[]) =>
  Object.fromEntries([0, 1, 2].flatMap((layer) => names.map((name) => [`${layer}.${name}`, 'plain'])));
const [q, v] = ['self_attn.q_proj', 'self_attn.v_proj'];
const ALL = ['q_proj', 'k_proj', 'v_proj', 'o_proj'].map((name) => `self_attn.${name}`);
const FEED_FORWARD = ['gate_proj', 'up_proj', 'down_proj'].map((name) => `mlp.${name}`);

const TARGETS: [what: string, config: object, modules: Record<string, string>][] = [
  ['names are ends of names', { target_modules: ['q_proj', 'self_attn.v_proj'] }, everywhere(q!, v!)],
  ['and no ends of their parts', { target_modules: ['up_proj'] }, everywhere('mlp.up_proj')],
  ['a whole name is one module', { target_modules: ['model.layers.1.mlp.up_proj'] }, { '1.mlp.up_proj': 'plain' }],
  ["'all-linear' leaves out the head", { target_modules: 'ALL-linear' }, everywhere(...ALL, ...FEED_FORWARD)],
  [
    'an expression is the whole name',
    { target_modules: '.*\\.[02]\\..*(q|v)_proj' },
    {
      '0.self_attn.q_proj': 'plain',
      '0.self_attn.v_proj': 'plain',
      '2.self_attn.q_proj': 'plain',
      '2.self_attn.v_proj': 'plain',
    },
  ],
  [
    'layers can be chosen',
    { target_modules: ['q_proj'], layers_to_transform: [0, 2] },
    {
      '0.self_attn.q_proj': 'plain',
      '2.self_attn.q_proj': 'plain',
    },
  ],
  [
    'or one, under a name',
    { target_modules: ['q_proj'], layers_to_transform: 1, layers_pattern: 'layers' },
    {
      '1.self_attn.q_proj': 'plain',
    },
  ],
  ['what is excluded is left', { target_modules: ['q_proj', 'v_proj'], exclude_modules: ['v_proj'] }, everywhere(q!)],
  ['also by an expression', { target_modules: ['q_proj', 'v_proj'], exclude_modules: '.*v_proj' }, everywhere(q!)],
  [
    'ranks differ by pattern, and the scale with them',
    {
      target_modules: ['q_proj'],
      rank_pattern: { 'layers.1.self_attn.q_proj': 8, q_pro: 3 },
    },
    { ...everywhere(q!), '1.self_attn.q_proj': '8 x 0.5' },
  ],
  [
    'the first pattern counts',
    {
      target_modules: ['q_proj'],
      rank_pattern: { '[01]\\.self_attn.q_proj': 4, q_proj: 8 },
      alpha_pattern: { '^model.layers.0.self_attn.q_proj': 16 },
    },
    { '0.self_attn.q_proj': '4 x 4', '1.self_attn.q_proj': '4 x 1', '2.self_attn.q_proj': '8 x 0.5' },
  ],
  [
    'rank-stabilised',
    { target_modules: ['q_proj'], layers_to_transform: 0, use_rslora: true },
    {
      '0.self_attn.q_proj': `2 x ${(4 / Math.sqrt(2)).toFixed(4)}`,
    },
  ],
  ['the head can be named', { target_modules: ['lm_head'] }, { lm_head: 'plain' }],
];

for (const [what, config, modules] of TARGETS) {
  adapter(`targets: ${what}`, () => assert.equal(found(config), modules));
}

const REFUSED: [config: object, message: RegExp][] = [
  [{ peft_type: 'LOHA' }, /peft_type is "LOHA"/],
  [{ peft_type: undefined }, /peft_type is nothing/],
  [{ task_type: 'SEQ_CLS' }, /task_type is "SEQ_CLS"/],
  [{ use_dora: true }, /DoRA/],
  [{ fan_in_fan_out: true }, /"fan_in_fan_out" is true/],
  [{ use_qalora: true }, /"use_qalora" is true/],
  [{ lora_bias: true }, /"lora_bias" is true/],
  [{ layer_replication: [[0, 2]] }, /"layer_replication"/],
  [{ target_parameters: ['experts.up'] }, /"target_parameters"/],
  [{ trainable_token_indices: [1] }, /"trainable_token_indices"/],
  [{ alora_invocation_tokens: [1, 2] }, /"alora_invocation_tokens"/],
  [{ init_lora_weights: 'pissa_niter_4' }, /init_lora_weights "pissa_niter_4" changes the weights of the base/],
  [{ something_new: 0.5 }, /"something_new" is 0.5/],
  [{ r: 0 }, /r: /],
  [{ r: 2.5 }, /r: /],
  [{ lora_alpha: null }, /lora_alpha/],
  [{ lora_alpha: 1e39 }, /the scale of "model.layers.0.self_attn.q_proj" is 5e\+38/],
  [{ rank_pattern: { q_proj: 0 } }, /rank_pattern.q_proj/],
  [{ target_modules: null }, /target_modules: expected names of modules or an expression/],
  [{ target_modules: [] }, /target_modules: "\[\]" names nothing/],
  [{ target_modules: ['q_proj', 'c_attn'] }, /"c_attn" names nothing in the base, which has .*q_proj/],
  [{ target_modules: 'q_proj' }, /"q_proj" names nothing/],
  [{ target_modules: '(' }, /the regular expression '.*' cannot be used/],
  [{ target_modules: '.*q_proj', layers_to_transform: [1] }, /layers_to_transform goes with a list/],
  [{ target_modules: ['q_proj'], layers_to_transform: 1, layers_pattern: 'blocks' }, /it adapts nothing/],
  [{ target_modules: ['q_proj'], exclude_modules: ['q_proj'] }, /it adapts nothing/],
  [{ target_parameters: deep(100_000) }, /"target_parameters" is something that is nested too deeply/],
  [{ peft_type: deep(100_000) }, /peft_type is something/],
  [{ bias: 'some' }, /bias: /],
];

for (const [config, message] of REFUSED) {
  adapter(`refused: ${Object.keys(config)} ${show(config)}`, () => fails(() => found(config), 'BAD_ADAPTER', message));
}

adapter('an expression that takes for ever is given a time', () =>
  fails(() => found({ target_modules: '(.*)*(.*)*(.*)*(.*)*(.*)*!' }), 'BAD_ADAPTER', /took more than 5 seconds/),
);

/** Both matrices of queries and values in the layers. */
const tensors = (layers = [0, 1, 2], rank = 2) =>
  lowRank(
    Object.fromEntries(
      layers.flatMap((layer) => [
        [`model.layers.${layer}.self_attn.q_proj`, [...Q, rank]],
        [`model.layers.${layer}.self_attn.v_proj`, [...V, rank]],
      ]),
    ),
    1,
  );

const read = async (config: object, given: Record<string, FloatTensor>, base: ModelConfig = CONFIGS.llama) => {
  let result: Awaited<ReturnType<typeof readAdapter>>;
  await inTemporaryFolder(async (folder) => {
    result = await readAdapter(await writeAdapter(join(folder, 'a'), config, given), 'hub', base);
  });
  return result!;
};

adapter('both matrices of each target are found', async () => {
  const { lowRank, replaced, baseName } = await read({}, tensors());
  assert.is(lowRank.size, 6);
  assert.is(replaced.size, 0);
  assert.is(baseName, 'someone/base');
  const { down, up, scale } = lowRank.get('model.layers.1.self_attn.v_proj.weight')!;
  assert.equal([down.shape, up.shape, scale], [[2, 16], [8, 2], 2]);
  assert.is(down.name, 'base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight');
});

adapter('what was saved whole stands in the place of the base', async () => {
  const { replaced } = await read(
    { modules_to_save: ['embed_tokens', 'norm', 'lm_head'] },
    {
      ...tensors(),
      'model.embed_tokens.weight': numbers([257, 16], 1),
      'model.norm.weight': numbers([16], 2),
      'lm_head.weight': numbers([257, 16], 3),
    },
  );
  assert.equal([...replaced.keys()], ['model.embed_tokens.weight', 'model.norm.weight', 'lm_head.weight']);
});

adapter('so do biases that were trained', async () => {
  const bias = (layer: number) => `model.layers.${layer}.self_attn.q_proj.base_layer.bias`;
  const given = { ...tensors(), [bias(0)]: numbers([16], 1), [bias(1)]: numbers([16], 2), [bias(2)]: numbers([16], 3) };
  const { replaced } = await read({ bias: 'all' }, given, { ...CONFIGS.qwen2, embedding: { tied: false, scale: 1 } });
  assert.equal(
    [...replaced.keys()],
    [0, 1, 2].map((layer) => `model.layers.${layer}.self_attn.q_proj.bias`),
  );
  // A base without biases has no place for them.
  await fails(() => read({ bias: 'all' }, given), 'BAD_ADAPTER', /accounts for tensor ".*q_proj.base_layer.bias"/);
});

const without = (name: string) => Object.fromEntries(Object.entries(tensors()).filter(([key]) => key !== name));
const A0 = 'model.layers.0.self_attn.q_proj.lora_A.weight';
const WRONG: [what: string, config: object, given: Record<string, FloatTensor>, message: RegExp, base?: ModelConfig][] =
  [
    [
      'a missing tensor',
      {},
      without(A0),
      /tensor "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" is missing/,
    ],
    [
      'a tensor too many',
      {},
      { ...tensors(), 'model.layers.0.mlp.up_proj.lora_A.weight': numbers([2, 16], 1) },
      /accounts for tensor ".*up_proj.lora_A.weight"/,
    ],
    [
      'ranks that contradict',
      { r: 4 },
      tensors(),
      /q_proj.lora_A.weight" is \[2,16\], not \[4,16\]: rank 4 of adapter_config.json and the base's \[16,16\]/,
    ],
    ['another shape', {}, { ...tensors(), [A0]: numbers([2, 32], 1) }, /lora_A.weight" is \[2,32\], not \[2,16\]/],
    [
      'a magnitude of DoRA',
      {},
      { ...tensors(), 'model.layers.0.self_attn.q_proj.lora_magnitude_vector': numbers([16], 1) },
      /accounts for tensor ".*lora_magnitude_vector"/,
    ],
    [
      'an adapted embedding',
      { target_modules: ['q_proj', 'embed_tokens'] },
      tensors(),
      /"model.embed_tokens" is adapted: of embeddings that is not supported/,
    ],
    [
      'an adapted norm',
      { target_modules: ['q_proj', 'norm'] },
      tensors(),
      /"model.norm" is adapted, which is no matrix/,
    ],
    [
      'a head that is the embedding',
      { target_modules: ['lm_head'] },
      {},
      /'lm_head' is adapted, but it is the base's embedding/,
      CONFIGS.qwen2,
    ],
    [
      'a saved part of what is tied',
      { modules_to_save: ['lm_head'] },
      { ...tensors(), 'lm_head.weight': numbers([257, 16], 1) },
      /head and embedding of the base are one/,
      CONFIGS.qwen2,
    ],
    [
      'a saved module that is missing',
      { modules_to_save: ['lm_head'] },
      tensors(),
      /"base_model.model.lm_head.weight" of modules_to_save is missing/,
    ],
    [
      'an embedding of more tokens',
      { modules_to_save: ['lm_head'] },
      { ...tensors(), 'lm_head.weight': numbers([260, 16], 1) },
      /"base_model.model.lm_head.weight" is \[260,16\], not \[257,16\]/,
    ],
  ];

for (const [what, config, given, message, base] of WRONG) {
  adapter(`refused: ${what}`, () => fails(() => read(config, given, base), 'BAD_ADAPTER', message));
}

adapter('files that are cut short, malformed or of another kind are told', async () => {
  await inTemporaryFolder(async (folder) => {
    const place = await writeAdapter(join(folder, 'a'), {}, tensors());
    const [config, weights] = [join(place, 'adapter_config.json'), join(place, 'adapter_model.safetensors')];
    const open = () => readAdapter(place, 'hub', CONFIGS.llama);
    await truncate(weights, 3000);
    await fails(open, 'BAD_SAFETENSORS', /adapter_model.safetensors/);
    await rm(weights);
    await fails(open, 'FILE_NOT_FOUND', /adapter_model.safetensors' does not exist/);
    await writeFile(join(place, 'adapter_model.bin'), 'pickled');
    await fails(open, 'FILE_NOT_FOUND', /adapter_model.bin. Only safetensors/);
    await writeFile(config, '{"peft_type": "LORA", "target_modules": ["q_proj"], "lora_alpha": NaN}');
    await fails(open, 'BAD_ADAPTER', /adapter_config.json': lora_alpha: .*NaN/);
    await writeFile(config, '{"peft_type": ');
    await fails(open, 'BAD_ADAPTER', /adapter_config.json' is not valid JSON/);
  });
});

adapter('an adapter is opened on the base that it names, if that is here', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    await writeModel(device, join(folder, 'hub'));
    const place = await writeAdapter(join(folder, 'a'), { base_model_name_or_path: '../hub' }, tensors());
    const checkpoint = await openCheckpoint(place);
    assert.is(checkpoint.adapter!.base, join(folder, 'hub'));
    assert.equal(checkpoint.config, (await openCheckpoint(join(folder, 'hub'))).config);
    const other = await writeAdapter(join(folder, 'b'), {}, tensors());
    await fails(() => openCheckpoint(other), 'BAD_ADAPTER', /is one of "someone\/base", which is no folder here/);
    assert.is((await openCheckpoint(other, { base: join(folder, 'hub') })).adapter!.lowRank.size, 6);
    await fails(() => openCheckpoint(other, { base: place }), 'BAD_ADAPTER', /and so is/);
  });
});

adapter.run();
