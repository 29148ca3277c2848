import { z } from 'zod';
import { BtsError } from '../errors.js';
import { check, type Fail } from './check.js';
import { type ModelConfig, ropeEverywhere, type Window, windowEverywhere } from './model-config.js';
import { parseRope, ropeToJson } from './rope-config.js';

export type { ModelConfig } from './model-config.js';

export type Family = keyof typeof ARCHITECTURES;

const ARCHITECTURES = {
  llama: 'LlamaForCausalLM',
  mistral: 'MistralForCausalLM',
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
} as const;

const DTYPE_NAMES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;
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

// What transformers' configuration classes assume where config.json lacks a key.
const COMMON_DEFAULTS = {
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  hidden_act: 'silu',
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  attention_bias: false,
  mlp_bias: false,
  sliding_window: 4096,
  use_sliding_window: false,
  max_window_layers: 28,
};
const LLAMA_DEFAULTS = {
  ...COMMON_DEFAULTS,
  vocab_size: 32000,
  intermediate_size: 11008,
  max_position_embeddings: 2048,
  bos_token_id: 1,
  eos_token_id: 2,
};
const QWEN_DEFAULTS = {
  ...COMMON_DEFAULTS,
  vocab_size: 151936,
  intermediate_size: 22016,
  num_key_value_heads: 32,
  max_position_embeddings: 32768,
};
const DEFAULTS: Record<Family, object> = {
  llama: LLAMA_DEFAULTS,
  mistral: { ...LLAMA_DEFAULTS, intermediate_size: 14336, num_key_value_heads: 8, max_position_embeddings: 131072 },
  qwen2: QWEN_DEFAULTS,
  qwen3: { ...QWEN_DEFAULTS, head_dim: 128 },
};

// The limits lie far above any real model; what passes them cannot overflow a product or ask for absurd allocations.
const count = (most: number) => z.int().min(1).max(most);
const MAX_INT32 = 0x7fffffff;
const Token = z.int().min(0).max(MAX_INT32);
const Dtype = z
  .string()
  .transform((name) => name.replace(/^torch\./, ''))
  .pipe(z.enum(Object.keys(DTYPE_CODES) as (keyof typeof DTYPE_CODES)[]))
  .nullish();
// Python takes None for false.
const Flag = z
  .boolean()
  .nullable()
  .transform((flag) => flag ?? false);

/** The `eos_token_id` of a config.json or generation_config.json: one token, several or none. */
export const EosTokens = z
  .union([Token, z.array(Token).max(1000)])
  .nullish()
  .transform((tokens) => [...new Set([tokens ?? []].flat())]);

const Fields = z.object({
  vocab_size: count(1 << 24),
  hidden_size: count(1 << 20),
  intermediate_size: count(1 << 22),
  num_hidden_layers: count(4096),
  num_attention_heads: count(1 << 14),
  num_key_value_heads: count(1 << 14).nullish(),
  head_dim: count(1 << 14).nullish(),
  hidden_act: z.literal('silu'),
  max_position_embeddings: count(MAX_INT32),
  rms_norm_eps: z.number().positive().max(1),
  tie_word_embeddings: Flag,
  attention_bias: Flag,
  mlp_bias: Flag,
  sliding_window: count(MAX_INT32).nullable(),
  use_sliding_window: Flag,
  max_window_layers: z
    .int()
    .min(0)
    .nullable()
    .transform((first) => first ?? COMMON_DEFAULTS.max_window_layers),
  layer_types: z.array(z.enum(['full_attention', 'sliding_attention'])).nullish(),
  bos_token_id: Token.nullish(),
  eos_token_id: EosTokens,
  torch_dtype: Dtype,
  dtype: Dtype,
});

/**
 * Reads the content of a `config.json`, in the style of transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) or
 * 5 (`rope_parameters`, `dtype`). A key it lacks has the value that transformers assumes.
 *
 * @param source names the file in errors
 * @throws BAD_CONFIG if it is malformed or describes a model that this package would compute otherwise than transformers
 */
export function parseConfig(json: unknown, source: string): ModelConfig {
  const fail = (reason: string) => new BtsError('BAD_CONFIG', `'${source}': ${reason}.`);
  const given = check(z.looseObject({}), json, fail);
  const family = requireFamily(given, fail);
  const fields = check(Fields, { ...DEFAULTS[family], ...given }, fail);

  const heads = fields.num_attention_heads;
  const keyValueHeads = fields.num_key_value_heads ?? heads;
  if (heads % keyValueHeads !== 0) {
    throw fail(`num_attention_heads ${heads} is no multiple of num_key_value_heads ${keyValueHeads}`);
  }
  const headWidth = fields.head_dim ?? fields.hidden_size / heads;
  if (!Number.isInteger(headWidth)) {
    throw fail(`hidden_size ${fields.hidden_size} is no multiple of num_attention_heads ${heads}`);
  }
  if (headWidth % 2 !== 0) throw fail(`rotary embeddings need an even head width, got ${headWidth}`);

  // The keys that a family's class in transformers does not read must not count here either.
  const attentionBias = family === 'qwen2' || (family !== 'mistral' && fields.attention_bias);
  return {
    family,
    vocabularySize: fields.vocab_size,
    width: fields.hidden_size,
    layers: fields.num_hidden_layers,
    maxPositions: fields.max_position_embeddings,
    attention: {
      heads,
      keyValueHeads,
      headWidth,
      bias: attentionBias,
      outputBias: attentionBias && family !== 'qwen2',
      queryKeyNorm: family === 'qwen3' ? 'head' : 'none',
      scale: 1 / Math.sqrt(headWidth),
      softcap: null,
      window: parseWindow(family, fields, fail),
    },
    feedForward: {
      width: fields.intermediate_size,
      activation: fields.hidden_act,
      bias: family === 'llama' && fields.mlp_bias,
    },
    norm: { epsilon: fields.rms_norm_eps, offset: 0, place: 'before' },
    rope: ropeEverywhere(parseRope(given, fields.max_position_embeddings, fail), headWidth),
    embedding: { tied: fields.tie_word_embeddings, scale: 1 },
    logitSoftcap: null,
    bosToken: fields.bos_token_id ?? null,
    eosTokens: fields.eos_token_id,
    dtype: DTYPE_CODES[fields.dtype ?? fields.torch_dtype ?? 'float32'],
  };
}

function requireFamily(given: Record<string, unknown>, fail: Fail): Family {
  const { model_type: type, architectures } = given;
  if (typeof type !== 'string' || !Object.hasOwn(ARCHITECTURES, type)) {
    const supported = Object.keys(ARCHITECTURES).join(', ');
    throw fail(`expected a model_type among ${supported}; got ${JSON.stringify(type)?.slice(0, 100)}`);
  }
  const family = type as Family;
  if (Array.isArray(architectures) && !architectures.includes(ARCHITECTURES[family])) {
    const got = JSON.stringify(architectures).slice(0, 100);
    throw fail(`expected the architecture ${ARCHITECTURES[family]}, a language model with its head; got ${got}`);
  }
  // These change what is computed, in every family: passing them over would give wrong numbers.
  for (const key of ['quantization_config', 'num_experts', 'num_local_experts', 'per_layer_config']) {
    if (given[key] != null)
      throw fail(`${key} is set, but only dense, unquantized models of equal layers are supported`);
  }
  return family;
}

/** One window for all layers, or none. Mistral always has its window; Qwen's has a switch and may spare lower layers. */
function parseWindow(family: Family, fields: z.infer<typeof Fields>, fail: Fail): Window | null {
  const { num_hidden_layers: layers, layer_types: types } = fields;
  const switchedOn = family === 'mistral' || (family !== 'llama' && fields.use_sliding_window);
  const window = switchedOn ? fields.sliding_window : null;
  const firstSliding = family === 'mistral' ? 0 : fields.max_window_layers;
  let sliding = window === null ? 0 : Math.max(0, layers - firstSliding);
  if (types) {
    if (types.length !== layers) throw fail(`layer_types has ${types.length} entries for ${layers} layers`);
    const listed = types.filter((type) => type === 'sliding_attention').length;
    if (family === 'mistral' && listed !== sliding) throw fail(`layer_types contradicts sliding_window ${window}`);
    sliding = listed;
  }
  if (sliding === 0) return null;
  if (sliding === layers && window !== null) return windowEverywhere(window, layers);
  throw fail(`${sliding} of ${layers} layers slide over a window of ${window}; all must, over the same, or none`);
}

/** The content of a `config.json` that transformers 4 and 5 both load, and that `parseConfig` reads back unchanged. */
export function configToJson(config: ModelConfig): Record<string, unknown> {
  const { attention, feedForward, eosTokens } = config;
  const family = config.family as Family;
  const bias = { attention_bias: attention.bias };
  const slidingWindow = attention.window?.tokens ?? null;
  const window = {
    use_sliding_window: slidingWindow !== null,
    sliding_window: slidingWindow,
    max_window_layers: slidingWindow === null ? config.layers : 0,
  };
  // Only what a family's class reads: other readers may give a stray key a meaning.
  const own: Record<Family, object> = {
    llama: { ...bias, mlp_bias: feedForward.bias },
    mistral: { sliding_window: slidingWindow },
    qwen2: window,
    qwen3: { ...bias, ...window },
  };
  return {
    architectures: [ARCHITECTURES[family]],
    model_type: family,
    vocab_size: config.vocabularySize,
    hidden_size: config.width,
    intermediate_size: feedForward.width,
    num_hidden_layers: config.layers,
    num_attention_heads: attention.heads,
    num_key_value_heads: attention.keyValueHeads,
    head_dim: attention.headWidth,
    hidden_act: feedForward.activation,
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.norm.epsilon,
    tie_word_embeddings: config.embedding.tied,
    ...own[family],
    ...ropeToJson(config.rope.global),
    bos_token_id: config.bosToken,
    eos_token_id: eosTokens.length > 1 ? eosTokens : (eosTokens[0] ?? null),
    torch_dtype: DTYPE_NAMES[config.dtype],
    dtype: DTYPE_NAMES[config.dtype],
  };
}
