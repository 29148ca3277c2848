import { BtsError } from '../base/errors.js';
import { familyOf } from './families/index.js';
import { norm, type Role, type StoredWeight, weight } from './families/weights.js';
import type { ModelConfig } from './model-config.js';
import { isPacked, type Stored } from './packed/matrix.js';
import { quote } from './safetensors-header.js';

export type { LayerRole, Role } from './families/weights.js';

/** One stored tensor of a model: what Hugging Face calls it, its shape, and which weights it holds. */
export interface ParameterSpec extends StoredWeight {
  /** From 0; null for a parameter outside the layers. */
  readonly layer: number | null;
}

/** What the weights of a stored tensor are for. */
export const rolesOf = ({ parts }: Pick<StoredWeight, 'parts'>): Role[] => parts.map(({ role }) => role);

/** `[V, C]` embedding and head, `[C]` final norm; the head only where it is not the embedding. */
function outerWeights(config: ModelConfig): StoredWeight[] {
  const { vocabularySize: V, width: C, embedding } = config;
  return [
    weight('embedding', EMBEDDING, [V, C]),
    norm('finalNorm', 'model.norm', config),
    ...(embedding.tied ? [] : [weight('head', HEAD, [V, C])]),
  ];
}

/** Every parameter of a model of this shape. The one table of names, for reading checkpoints and for writing them. */
export function parameterNames(config: ModelConfig): ParameterSpec[] {
  const rows = familyOf(config).layer(config);
  const layers = Array.from({ length: config.layers }, (_, layer) =>
    rows.map((row) => ({ ...row, name: `model.layers.${layer}.${row.name}`, layer })),
  );
  return [...outerWeights(config).map((row) => ({ ...row, layer: null })), ...layers.flat()];
}

const EMBEDDING = 'model.embed_tokens.weight';
const HEAD = 'lm_head.weight';

// Old files carry these; they follow from the configuration.
const DERIVED = /(^|\.)rotary_emb\.inv_freq$/;

/**
 * Holds a checkpoint's tensors against its configuration and returns those the model needs, in the order of
 * `parameterNames`. Passed over: rotary frequencies, and an `lm_head.weight` in a model whose head is its embedding. Such a
 * model's embedding may be stored under that name alone; its entry keeps the name that it has in the file. Matrices in codes were
 * checked when they were gathered.
 *
 * @param source names the checkpoint in the error
 * @throws BAD_CHECKPOINT with all that is missing, unexpected, or of another shape or a dtype other than F32, F16, BF16
 */
export function matchCheckpoint(
  config: ModelConfig,
  tensors: ReadonlyMap<string, Stored>,
  source: string,
): Map<string, Stored> {
  const matched = new Map<string, Stored>();
  const missing: string[] = [];
  const wrong: string[] = [];
  const specs = parameterNames(config);
  for (const { name, shape } of specs) {
    const entry = tensors.get(name) ?? (config.embedding.tied && name === EMBEDDING ? tensors.get(HEAD) : undefined);
    if (!entry) missing.push(name);
    else if (isPacked(entry)) matched.set(name, entry);
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
