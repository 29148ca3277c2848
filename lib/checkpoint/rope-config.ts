import { z } from 'zod';
import { check, type Fail } from '../base/check.js';
import { show } from '../base/show.js';

/** Rotary position embeddings: the base of their wavelengths, and how these are stretched for longer texts. */
export type Rope =
  | { readonly kind: 'default'; readonly theta: number }
  | { readonly kind: 'linear'; readonly theta: number; readonly factor: number }
  | {
      readonly kind: 'llama3';
      readonly theta: number;
      readonly factor: number;
      readonly lowFrequencyFactor: number;
      readonly highFrequencyFactor: number;
      readonly originalMaxPositions: number;
    }
  | {
      readonly kind: 'longrope';
      readonly theta: number;
      /** What each pair's wavelength is multiplied with in sequences of up to `originalMaxPositions` tokens. */
      readonly shortFactors: readonly number[];
      /** The same in longer sequences. */
      readonly longFactors: readonly number[];
      /** Cosines and sines are multiplied by this. */
      readonly attentionFactor: number;
      readonly originalMaxPositions: number;
    };

export type RopeKind = Rope['kind'];

/** Where the reading of rope keys begins. */
export interface RopeContext {
  maxPositions: number;
  /** What stands in place of a `rope_theta` that is not given. */
  theta: number;
  /** Which kinds the family knows. */
  kinds?: readonly RopeKind[];
  fail: Fail;
}

const positive = z.number().positive().max(1e15);
const length = z.int().min(1).max(0x7fffffff);
const factors = z
  .array(positive)
  .min(1)
  .max(1 << 14);
const SCHEMAS = {
  default: z.object({ rope_theta: positive }),
  linear: z.object({ rope_theta: positive, factor: z.number().min(1).max(1e6) }),
  llama3: z.object({
    rope_theta: positive,
    factor: z.number().min(1).max(1e6),
    low_freq_factor: positive,
    high_freq_factor: positive,
    original_max_position_embeddings: length,
  }),
  longrope: z.object({
    rope_theta: positive,
    short_factor: factors,
    long_factor: factors,
    factor: z.number().positive().max(1e6).nullish(),
    attention_factor: positive.nullish(),
    original_max_position_embeddings: length,
  }),
} satisfies Record<RopeKind, z.ZodType>;

type Json = Record<string, unknown>;
const PLAIN_KINDS = ['default', 'linear', 'llama3'] as const;

/** The rope keys of a config.json, old style or new, with the precedence that transformers 5 gives them. */
export function ropeParameters(json: Json, fail: Fail): Json {
  const given = parameters(json.rope_scaling, fail) ?? parameters(json.rope_parameters, fail) ?? {};
  if (Object.values(given).some(isObject)) throw fail('rope parameters that differ between layers are not supported');
  return {
    ...given,
    rope_theta: given.rope_theta ?? json.rope_theta,
    partial_rotary_factor: given.partial_rotary_factor ?? json.partial_rotary_factor,
    original_max_position_embeddings: originalLength(given, json, fail),
  };
}

function originalLength(given: Json, { original_max_position_embeddings: outer }: Json, fail: Fail): unknown {
  const inner = given.original_max_position_embeddings;
  // Versions of transformers differ in which one they believe.
  if (inner != null && outer != null && inner !== outer) {
    throw fail('it has two values for original_max_position_embeddings');
  }
  return inner ?? outer;
}

/** Undefined for absent, null or `{}`: transformers passes all three over. */
export function parameters(value: unknown, fail: Fail): Json | undefined {
  const given = check(z.looseObject({}).nullish(), value, fail);
  return given && Object.keys(given).length > 0 ? given : undefined;
}

const isObject = (value: unknown) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Makes sense of the rope parameters of one kind of layer. Throws through `fail`. */
export function parseRope(given: Json, { maxPositions, theta, kinds = PLAIN_KINDS, fail }: RopeContext): Rope {
  const type = given.rope_type ?? given.type ?? 'default';
  const kind = kinds.find((kind) => kind === type);
  if (!kind) throw fail(`rope_type: only ${list(kinds)} are supported, got ${show(type)}`);
  const read = <Kind extends RopeKind>(kind: Kind) =>
    check(
      SCHEMAS[kind],
      {
        ...given,
        rope_theta: given.rope_theta ?? theta,
        original_max_position_embeddings: given.original_max_position_embeddings ?? maxPositions,
      },
      fail,
    ) as z.output<(typeof SCHEMAS)[Kind]>;
  if (kind === 'default') return { kind, theta: read(kind).rope_theta };
  if (kind === 'linear') {
    const rope = read(kind);
    return { kind, theta: rope.rope_theta, factor: rope.factor };
  }
  if (kind === 'longrope') {
    const { original_max_position_embeddings: original, ...rope } = read(kind);
    return {
      kind,
      theta: rope.rope_theta,
      shortFactors: rope.short_factor,
      longFactors: rope.long_factor,
      attentionFactor: rope.attention_factor ?? attentionFactor(rope.factor ?? maxPositions / original, original),
      originalMaxPositions: original,
    };
  }
  const rope = read(kind);
  if (rope.low_freq_factor >= rope.high_freq_factor) throw fail('low_freq_factor must be below high_freq_factor');
  return {
    kind,
    theta: rope.rope_theta,
    factor: rope.factor,
    lowFrequencyFactor: rope.low_freq_factor,
    highFrequencyFactor: rope.high_freq_factor,
    originalMaxPositions: rope.original_max_position_embeddings,
  };
}

/** What LongRoPE multiplies cosines and sines with in a context that is `factor` times as long as the original. */
export const attentionFactor = (factor: number, original: number) =>
  factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));

const list = (words: readonly string[]) => `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;

/** The rope keys of a config.json, in the old style and the new. */
export function ropeToJson(rope: Rope): Json {
  const scaling = scalingToJson(rope);
  return {
    rope_theta: rope.theta,
    rope_scaling: scaling,
    rope_parameters: { rope_type: 'default', rope_theta: rope.theta, ...scaling },
  };
}

/** What stands in `rope_scaling`; null where nothing is stretched. */
export function scalingToJson(rope: Rope): Json | null {
  if (rope.kind === 'default') return null;
  if (rope.kind === 'linear') return { rope_type: 'linear', factor: rope.factor };
  if (rope.kind === 'longrope') {
    return { type: 'longrope', short_factor: rope.shortFactors, long_factor: rope.longFactors };
  }
  return {
    rope_type: 'llama3',
    factor: rope.factor,
    low_freq_factor: rope.lowFrequencyFactor,
    high_freq_factor: rope.highFrequencyFactor,
    original_max_position_embeddings: rope.originalMaxPositions,
  };
}
