/** How checkpoints say that their matrices were quantized by others: `quantization_config` in config.json. */
import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import { show } from '../../base/show.js';
import { count, Flag, MAX_INT32 } from '../families/keys.js';
import { Modules, readCompressed } from './compressed.js';
import type { Packing, Scheme } from './scheme.js';

const Bits = z.union([z.literal(4), z.literal(8)], { error: 'expected 4 or 8' });
const GroupSize = z.union([z.literal(-1), count(MAX_INT32)], { error: 'expected a number of inputs, or -1' });
const Word = z
  .string()
  .transform((word) => word.toLowerCase())
  .nullish();

const Gptq = z.object({
  bits: Bits,
  group_size: GroupSize,
  desc_act: Flag,
  sym: Flag,
  checkpoint_format: Word,
  format: Word,
  is_marlin_format: Flag,
  pack_dtype: Word,
  dynamic: z.record(z.string(), z.unknown()).nullish(),
});

function readGptq(json: object, fail: Fail): Packing {
  const keys = check(Gptq, json, fail);
  const format = keys.is_marlin_format ? 'marlin' : (keys.checkpoint_format ?? keys.format ?? 'gptq');
  if (format !== 'gptq' && format !== 'gptq_v2')
    throw fail(`checkpoint_format ${show(format)} is not read: gptq and gptq_v2 are`);
  if ((keys.pack_dtype ?? 'int32') !== 'int32') throw fail(`pack_dtype ${show(keys.pack_dtype)} is not read: int32 is`);
  if (Object.keys(keys.dynamic ?? {}).length > 0)
    throw fail('dynamic gives modules settings of their own, which is not read');
  const scheme: Scheme = {
    layout: 'gptq',
    bits: keys.bits,
    groupSize: keys.group_size === -1 ? null : keys.group_size,
    perTensor: false,
    symmetric: keys.sym,
    // The first version of the format holds zeros less one.
    zeroOffset: format === 'gptq' ? 1 : 0,
    ordered: keys.desc_act,
  };
  return { method: 'gptq', schemes: [{ scheme }], ignored: [] };
}

const Awq = z.object({
  bits: z.literal(4, { error: 'expected 4' }).optional(),
  w_bit: z.literal(4, { error: 'expected 4' }).optional(),
  group_size: GroupSize.optional(),
  q_group_size: GroupSize.optional(),
  zero_point: z.literal(true, { error: 'expected true: codes without zeros are not read' }),
  version: Word,
  modules_to_not_convert: Modules.nullish(),
});

function readAwq(json: object, fail: Fail): Packing {
  const keys = check(Awq, json, fail);
  const groupSize = keys.group_size ?? keys.q_group_size;
  if ((keys.bits ?? keys.w_bit) === undefined || groupSize === undefined)
    throw fail('bits and group_size must be told');
  if ((keys.version ?? 'gemm') !== 'gemm') throw fail(`version ${show(keys.version)} is not read: gemm is`);
  const scheme: Scheme = {
    layout: 'awq',
    bits: 4,
    groupSize: groupSize === -1 ? null : groupSize,
    perTensor: false,
    symmetric: false,
    zeroOffset: 0,
    ordered: false,
  };
  return { method: 'awq', schemes: [{ scheme }], ignored: keys.modules_to_not_convert ?? [] };
}

const METHODS = { gptq: readGptq, awq: readAwq, 'compressed-tensors': readCompressed } as const;

/** Reads a `quantization_config`. Throws what `fail` makes for what is malformed, and for methods and formats that are not read. */
export function parsePacking(json: unknown, fail: Fail): Packing {
  const within: Fail = (reason) => fail(`quantization_config: ${reason}`);
  const given = check(z.looseObject({ quant_method: z.string().optional() }), json, within);
  const method = given.quant_method?.toLowerCase();
  if (method !== undefined && Object.hasOwn(METHODS, method))
    return METHODS[method as keyof typeof METHODS](given, within);
  const named =
    method === undefined ? 'no quant_method is named' : `quant_method ${show(given.quant_method)} is not read`;
  throw within(
    `${named}: ${Object.keys(METHODS).join(', ')} are. Take the model in f16 or bf16, and --members int8 or int4`,
  );
}
