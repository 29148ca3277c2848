import { BtsError } from '../errors.js';
import type { ModelConfig } from './config.js';
import type { TensorEntry } from './safetensors.js';
import { quote } from './safetensors-header.js';

export type LayerRole =
  | 'attentionNorm'
  | 'query'
  | 'queryBias'
  | 'key'
  | 'keyBias'
  | 'value'
  | 'valueBias'
  | 'output'
  | 'outputBias'
  | 'queryNorm'
  | 'keyNorm'
  | 'feedForwardNorm'
  | 'gate'
  | 'gateBias'
  | 'up'
  | 'upBias'
  | 'down'
  | 'downBias';

export type Role = 'embedding' | 'finalNorm' | 'head' | LayerRole;

/** One parameter of a model: what Hugging Face calls it, its shape, and what it is for. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly role: Role;
  /** From 0; null for a parameter outside the layers. */
  readonly layer: number | null;
}

type Row = readonly [role: Role, name: string, shape: readonly number[], present?: boolean];

/** `[V, C]` embedding and head, `[C]` final norm; the head only where it is not the embedding. */
function outerTable({ vocabularySize: V, width: C, embedding }: ModelConfig): Row[] {
  return [
    ['embedding', EMBEDDING, [V, C]],
    ['finalNorm', 'model.norm.weight', [C]],
    ['head', HEAD, [V, C], !embedding.tied],
  ];
}

/** One layer: linear weights are `[out, in]`, with H query heads and K key/value heads of width D. */
function layerTable(config: ModelConfig): Row[] {
  const { width: C, attention, feedForward } = config;
  const { heads: H, keyValueHeads: K, headWidth: D } = attention;
  const { width: F } = feedForward;
  const headNorms = attention.queryKeyNorm === 'head';
  return [
    ['attentionNorm', 'input_layernorm.weight', [C]],
    ['query', 'self_attn.q_proj.weight', [H * D, C]],
    ['queryBias', 'self_attn.q_proj.bias', [H * D], attention.bias],
    ['key', 'self_attn.k_proj.weight', [K * D, C]],
    ['keyBias', 'self_attn.k_proj.bias', [K * D], attention.bias],
    ['value', 'self_attn.v_proj.weight', [K * D, C]],
    ['valueBias', 'self_attn.v_proj.bias', [K * D], attention.bias],
    ['output', 'self_attn.o_proj.weight', [C, H * D]],
    ['outputBias', 'self_attn.o_proj.bias', [C], attention.outputBias],
    ['queryNorm', 'self_attn.q_norm.weight', [D], headNorms],
    ['keyNorm', 'self_attn.k_norm.weight', [D], headNorms],
    ['feedForwardNorm', 'post_attention_layernorm.weight', [C]],
    ['gate', 'mlp.gate_proj.weight', [F, C]],
    ['gateBias', 'mlp.gate_proj.bias', [F], feedForward.bias],
    ['up', 'mlp.up_proj.weight', [F, C]],
    ['upBias', 'mlp.up_proj.bias', [F], feedForward.bias],
    ['down', 'mlp.down_proj.weight', [C, F]],
    ['downBias', 'mlp.down_proj.bias', [C], feedForward.bias],
  ];
}

/** Every parameter of a model of this shape. The one table of names, for reading checkpoints and for writing them. */
export function parameterNames(config: ModelConfig): ParameterSpec[] {
  const specs = (table: Row[], prefix: string, layer: number | null): ParameterSpec[] =>
    table.flatMap(([role, name, shape, present = true]) =>
      present ? [{ name: prefix + name, shape, role, layer }] : [],
    );
  const rows = layerTable(config);
  const layers = Array.from({ length: config.layers }, (_, i) => specs(rows, `model.layers.${i}.`, i));
  return [...specs(outerTable(config), '', null), ...layers.flat()];
}

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';

// Old files carry these; they follow from the configuration.
const DERIVED = /(^|\.)rotary_emb\.inv_freq$/;

/**
 * Holds a checkpoint's tensors against its configuration and returns those the model needs, in the order of
 * `parameterNames`. Passed over: rotary frequencies, and an `lm_head.weight` in a model whose head is its embedding. Such a
 * model's embedding may be stored under that name alone; its entry keeps the name that it has in the file.
 *
 * @param source names the checkpoint in the error
 * @throws BAD_CHECKPOINT with all that is missing, unexpected, or of another shape or a dtype other than F32, F16, BF16
 */
export function matchCheckpoint(
  config: ModelConfig,
  tensors: ReadonlyMap<string, TensorEntry>,
  source: string,
): Map<string, TensorEntry> {
  const matched = new Map<string, TensorEntry>();
  const missing: string[] = [];
  const wrong: string[] = [];
  const specs = parameterNames(config);
  for (const { name, shape } of specs) {
    const entry = tensors.get(name) ?? (config.embedding.tied && name === EMBEDDING ? tensors.get(HEAD) : undefined);
    if (!entry) missing.push(name);
    else if (!['F32', 'F16', 'BF16'].includes(entry.dtype))
      wrong.push(`${name} is ${entry.dtype}, not F32, F16 or BF16`);
    else if (`${entry.shape}` !== `${shape}`) wrong.push(`${name} is [${entry.shape}], not [${shape}]`);
    else matched.set(name, entry);
  }
  const known = new Set(specs.map(({ name }) => name));
  const tolerated = (name: string) => DERIVED.test(name) || (config.embedding.tied && name === HEAD);
  const unexpected = [...tensors.keys()].filter((name) => !known.has(name) && !tolerated(name)).map(quote);

  if (missing.length + wrong.length + unexpected.length > 0) {
    const faults = [list('missing', missing), list('unexpected', unexpected), list('wrong', wrong)].filter(Boolean);
    throw new BtsError('BAD_CHECKPOINT', `'${source}' does not fit its config.json. ${faults.join(' ')}`);
  }
  return matched;
}

function list(fault: string, items: string[]): string {
  if (items.length === 0) return '';
  const rest = items.length > 5 ? ` and ${items.length - 5} more` : '';
  return `${fault}: ${items.slice(0, 5).join(', ')}${rest}.`;
}
