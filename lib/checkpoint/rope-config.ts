import { z } from 'zod';
import { check, type Fail } from './check.js';

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
    };

const positive = z.number().positive().max(1e15);
const Default = z.object({
  rope_type: z.literal('default'),
  rope_theta: positive,
  partial_rotary_factor: z.literal(1, { error: 'heads that are rotated in part are not supported' }),
});
const Linear = Default.extend({ rope_type: z.literal('linear'), factor: z.number().min(1).max(1e6) });
const Llama3 = Linear.extend({
  rope_type: z.literal('llama3'),
  low_freq_factor: positive,
  high_freq_factor: positive,
  original_max_position_embeddings: z.int().min(1).max(0x7fffffff),
});
const Parameters = z.discriminatedUnion('rope_type', [Default, Linear, Llama3], {
  error: 'only default, linear and llama3 are supported',
});

/** Reads the rope keys of a config.json, giving old and new style the precedence that transformers 5 gives them. */
export function parseRope(json: Record<string, unknown>, maxPositions: number, fail: Fail): Rope {
  const given = parameters(json.rope_scaling, fail) ?? parameters(json.rope_parameters, fail) ?? {};
  const outer = json.original_max_position_embeddings;
  const original = given.original_max_position_embeddings ?? outer ?? maxPositions;
  // Versions of transformers differ in which one they believe.
  if (outer != null && outer !== original) throw fail('it has two values for original_max_position_embeddings');
  const rope = check(
    Parameters,
    {
      ...given,
      rope_type: given.rope_type ?? given.type ?? 'default',
      rope_theta: given.rope_theta ?? json.rope_theta ?? 10000,
      partial_rotary_factor: given.partial_rotary_factor ?? json.partial_rotary_factor ?? 1,
      original_max_position_embeddings: original,
    },
    fail,
  );
  const theta = rope.rope_theta;
  if (rope.rope_type === 'default') return { kind: 'default', theta };
  if (rope.rope_type === 'linear') return { kind: 'linear', theta, factor: rope.factor };
  if (rope.low_freq_factor >= rope.high_freq_factor) throw fail('low_freq_factor must be below high_freq_factor');
  return {
    kind: 'llama3',
    theta,
    factor: rope.factor,
    lowFrequencyFactor: rope.low_freq_factor,
    highFrequencyFactor: rope.high_freq_factor,
    originalMaxPositions: rope.original_max_position_embeddings,
  };
}

/** Undefined for absent, null or `{}`: transformers passes all three over. */
function parameters(value: unknown, fail: Fail): Record<string, unknown> | undefined {
  const given = check(z.looseObject({}).nullish(), value, fail);
  if (!given || Object.keys(given).length === 0) return undefined;
  if (Object.values(given).some((item) => typeof item === 'object' && item !== null && !Array.isArray(item))) {
    throw fail('rope parameters that differ between layers are not supported');
  }
  return given;
}

/** The rope keys of a config.json, in the old style and the new. */
export function ropeToJson(rope: Rope): Record<string, unknown> {
  const scaling = scalingToJson(rope);
  return {
    rope_theta: rope.theta,
    rope_scaling: scaling,
    rope_parameters: { rope_type: 'default', rope_theta: rope.theta, ...scaling },
  };
}

function scalingToJson(rope: Rope): Record<string, unknown> | null {
  if (rope.kind === 'default') return null;
  if (rope.kind === 'linear') return { rope_type: 'linear', factor: rope.factor };
  return {
    rope_type: 'llama3',
    factor: rope.factor,
    low_freq_factor: rope.lowFrequencyFactor,
    high_freq_factor: rope.highFrequencyFactor,
    original_max_position_embeddings: rope.originalMaxPositions,
  };
}
