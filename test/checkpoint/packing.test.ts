/** What config.json says of matrices that others quantized. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { configToJson, parseConfig } from '../../lib/checkpoint/config.js';
import { type Packing, schemesOf } from '../../lib/checkpoint/packed/scheme.js';
import { fails } from '../data/data-fixtures.js';
import { quantizationConfig } from '../support/packed.js';
import { TINY } from './checkpoint-fixtures.js';

const parse = (quantization_config: unknown) => parseConfig({ ...TINY, quantization_config }, 'x');
const GPTQ = { quant_method: 'gptq', bits: 4, group_size: 128, desc_act: false, sym: true };
const AWQ = { quant_method: 'awq', bits: 4, group_size: 128, version: 'GEMM', zero_point: true };
const GROUP = { targets: ['Linear'], weights: { num_bits: 4, strategy: 'group', group_size: 128 } };
const COMPRESSED = {
  quant_method: 'compressed-tensors',
  format: 'pack-quantized',
  config_groups: { a: GROUP },
  ignore: [],
};
const weights = (changes: object) => ({
  ...COMPRESSED,
  config_groups: { a: { ...GROUP, weights: { ...GROUP.weights, ...changes } } },
});

const REFUSED: [what: string, json: object, message: RegExp][] = [
  ...['bitsandbytes', 'fp8', 'fbgemm_fp8', 'exl2', 'hqq', 'aqlm', 'marlin', 'auto-round', 'torchao', 'mxfp4'].map(
    (quant_method) =>
      [
        quant_method,
        { quant_method, bits: 4 },
        new RegExp(`quant_method "${quant_method}" is not read: gptq, awq, compressed-tensors are`),
      ] as [string, object, RegExp],
  ),
  ['no method', { bits: 4 }, /quantization_config: no quant_method is named/],
  ['an inherited method', { quant_method: 'constructor' }, /"constructor" is not read/],
  ['3 bits', { ...GPTQ, bits: 3 }, /bits: expected 4 or 8/],
  ['groups of 0', { ...GPTQ, group_size: 0 }, /group_size: /],
  ['no groups', { ...GPTQ, group_size: undefined }, /group_size: /],
  [
    "Marlin's order",
    { ...GPTQ, checkpoint_format: 'marlin' },
    /checkpoint_format "marlin" is not read: gptq and gptq_v2 are/,
  ],
  ["Marlin's order, as it was said once", { ...GPTQ, is_marlin_format: true }, /"marlin" is not read/],
  ['words of another size', { ...GPTQ, pack_dtype: 'int64' }, /pack_dtype "int64" is not read/],
  [
    'modules with settings of their own',
    { ...GPTQ, dynamic: { '+:.*down.*': { bits: 8 } } },
    /dynamic gives modules settings/,
  ],
  ['AWQ for one row', { ...AWQ, version: 'gemv' }, /version "gemv" is not read: gemm is/],
  ['AWQ without zeros', { ...AWQ, zero_point: false }, /zero_point: expected true/],
  ['AWQ without bits', { ...AWQ, bits: undefined }, /bits and group_size must be told/],
  [
    'floats of 8 bits',
    { ...COMPRESSED, format: 'float-quantized' },
    /format "float-quantized" is not read: pack-quantized and int-quantized are/,
  ],
  ['numbers that are floats', weights({ type: 'float', num_bits: 8 }), /weights\.type: expected int/],
  ['2 bits', weights({ num_bits: 2 }), /num_bits: expected 4 or 8/],
  ['4 bits in bytes', { ...COMPRESSED, format: 'int-quantized' }, /num_bits 4 in int-quantized is not read/],
  ['blocks', weights({ strategy: 'block' }), /strategy: expected tensor, channel or group/],
  ['a group size without groups', weights({ strategy: 'channel' }), /strategy channel and group_size 128 contradict/],
  ['groups without a size', weights({ group_size: null }), /strategy group and group_size null contradict/],
  [
    'activations with scales',
    { ...COMPRESSED, config_groups: { a: { ...GROUP, input_activations: { num_bits: 8, dynamic: false } } } },
    /input_activations with scales of their own/,
  ],
  ['a cache in few bits', { ...COMPRESSED, kv_cache_scheme: { num_bits: 8 } }, /a cache in few bits is not read/],
  [
    'sparse weights',
    { ...COMPRESSED, sparsity_config: { format: 'sparse-24-bitmask' } },
    /"sparse-24-bitmask" is not read: dense is/,
  ],
  ['no groups of modules', { ...COMPRESSED, config_groups: {} }, /config_groups is empty/],
];

for (const [what, json, message] of REFUSED)
  test(`refused: ${what}`, async () => {
    await fails(() => parse(json), 'BAD_CONFIG', message);
  });

test('methods and formats that are read', () => {
  const packing = (json: unknown) => parse(json).packing!;
  assert.equal(packing(GPTQ).schemes[0]!.scheme.zeroOffset, 1);
  assert.equal(packing({ ...GPTQ, checkpoint_format: 'gptq_v2' }).schemes[0]!.scheme.zeroOffset, 0);
  assert.is(packing({ ...GPTQ, group_size: -1 }).schemes[0]!.scheme.groupSize, null);
  assert.is(packing({ ...AWQ, bits: undefined, w_bit: 4 }).schemes[0]!.scheme.layout, 'awq');
  const { strategy: _, group_size: __, ...plain } = GROUP.weights;
  const tensor = packing({ ...COMPRESSED, config_groups: { a: { ...GROUP, weights: plain } } });
  assert.is(tensor.schemes[0]!.scheme.perTensor, true);
  const dynamic = { ...GROUP, weights: { ...GROUP.weights, num_bits: 8 }, input_activations: { dynamic: true } };
  assert.is(
    packing({ ...COMPRESSED, format: 'int-quantized', config_groups: { a: dynamic } }).schemes[0]!.scheme.bits,
    8,
  );
});

test('a model whose codes became floats is written as one of floats', () => {
  assert.is(JSON.stringify(configToJson(parse(GPTQ))).includes('quant'), false);
});

const fail = (reason: string) => new BtsError('BAD_CONFIG', reason);
const schemeOf = (packing: Packing, module: string) => schemesOf(packing, [module], fail).get(module);

test('which modules are quantized is told by names, expressions, or for all', () => {
  const format = { kind: 'pack-quantized', bits: 4, groupSize: 32, symmetric: true } as const;
  const json = (changes: object) => parse({ ...quantizationConfig(format), ...changes }).packing!;
  const group = (targets: string[], num_bits: number) => ({ targets, weights: { num_bits, strategy: 'channel' } });
  const mixed = json({
    config_groups: { a: group(['re:.*down_proj$'], 8), b: group(['model.layers.0.mlp.up_proj'], 4) },
    ignore: ['re:.*layers\\.1\\..*'],
  });
  const bits = (module: string) => schemeOf(mixed, module)?.bits;
  assert.is(bits('model.layers.0.mlp.down_proj'), 8);
  assert.is(bits('model.layers.0.mlp.up_proj'), 4);
  assert.is(bits('model.layers.0.mlp.gate_proj'), undefined);
  assert.is(bits('model.layers.1.mlp.down_proj'), undefined);
  assert.is(schemeOf(json({}), 'lm_head'), undefined);
  assert.is(schemeOf(json({}), 'model.layers.1.mlp.down_proj')?.bits, 4);
  const awq = parse({ ...AWQ, modules_to_not_convert: ['self_attn'] }).packing!;
  assert.is(schemeOf(awq, 'model.layers.1.self_attn.q_proj'), undefined);
});

test("a module's own name goes before an expression, and that before all", () => {
  const group = (target: string, num_bits: number, group_size: number) => ({
    targets: [target],
    weights: { num_bits, strategy: 'group', group_size },
  });
  const groups = {
    all: group('Linear', 4, 128),
    some: group('re:.*mlp.*', 8, 64),
    one: group('model.layers.0.mlp.up_proj', 8, 32),
  };
  for (const order of [['all', 'some', 'one'] as const, ['one', 'some', 'all'] as const]) {
    const config_groups = Object.fromEntries(order.map((name) => [name, groups[name]]));
    const packing = parse({ ...COMPRESSED, config_groups }).packing!;
    const size = (module: string) => schemeOf(packing, module)?.groupSize;
    assert.is(size('model.layers.0.self_attn.q_proj'), 128);
    assert.is(size('model.layers.0.mlp.down_proj'), 64);
    assert.is(size('model.layers.0.mlp.up_proj'), 32);
  }
});

test('lists of modules have a length, and an expression that takes for ever is given a time', async () => {
  await fails(() => parse({ ...COMPRESSED, ignore: Array(5000).fill('a') }), 'BAD_CONFIG', /ignore: /);
  const config_groups = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`${i}`, GROUP]));
  await fails(
    () => parse({ ...COMPRESSED, config_groups }),
    'BAD_CONFIG',
    /config_groups: expected 4096 groups at most/,
  );
  await fails(() => parse({ ...AWQ, modules_to_not_convert: Array(5000).fill('a') }), 'BAD_CONFIG', /modules_to_not_/);
  const packing = parse({ ...COMPRESSED, ignore: ['re:(.*.*)*X'] }).packing!;
  await fails(() => schemeOf(packing, 'model.layers.0.mlp.up_proj'), 'BAD_CONFIG', /took more than 5 seconds/);
});

test.run();
