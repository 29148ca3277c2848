/** Kinds of values in a config.json. */
import { z } from 'zod';

export const MAX_INT32 = 0x7fffffff;

// The limits lie far above any real model; what passes them cannot overflow a product or ask for absurd allocations.
export const count = (most: number) => z.int().min(1).max(most);

// Python takes None for false.
export const Flag = z
  .boolean()
  .nullish()
  .transform((flag) => flag ?? false);

export const Token = z.int().min(0).max(MAX_INT32);

/** The `eos_token_id` of a config.json or generation_config.json: one token, several or none. */
export const EosTokens = z
  .union([Token, z.array(Token).max(1000)])
  .nullish()
  .transform((tokens) => [...new Set([tokens ?? []].flat())]);

/** A bound that numbers approach by way of tanh; null: none. */
export const Softcap = z.number().positive().max(1e6).nullable();

const DTYPES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;
// PyTorch's names, with a `torch.` before them or without. What was made in f64 has its weights in f32 all the same, or is
// refused by its tensors; `auto` says nothing.
const DTYPE_CODES = {
  float32: 'F32',
  float: 'F32',
  float64: 'F32',
  double: 'F32',
  auto: 'F32',
  float16: 'F16',
  half: 'F16',
  bfloat16: 'BF16',
} as const;

export const Dtype = z
  .string()
  .transform((name) => name.replace(/^torch\./, ''))
  .pipe(z.enum(Object.keys(DTYPE_CODES) as (keyof typeof DTYPE_CODES)[]))
  .transform((name) => DTYPE_CODES[name])
  .nullish();

export const dtypeToJson = (dtype: keyof typeof DTYPES) => ({ torch_dtype: DTYPES[dtype], dtype: DTYPES[dtype] });

const ACTIVATIONS = { silu: 'silu', gelu: 'gelu', geluTanh: 'gelu_pytorch_tanh' } as const;
const ACTIVATION_CODES = {
  silu: 'silu',
  swish: 'silu',
  gelu: 'gelu',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_new: 'geluTanh',
} as const;

export const Activation = z
  .enum(Object.keys(ACTIVATION_CODES) as (keyof typeof ACTIVATION_CODES)[])
  .transform((name) => ACTIVATION_CODES[name]);

export const activationToJson = (activation: keyof typeof ACTIVATIONS) => ACTIVATIONS[activation];
