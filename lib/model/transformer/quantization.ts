/** In how many bits the frozen matrices of members are held. */
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { choice } from '../../base/schema.js';
import { didYouMean } from '../../base/suggest.js';
import { type ParameterSpec, type Role, rolesOf } from '../../checkpoint/names.js';
import type { QuantizedType } from '../../tensor/addon.js';

const HELD = ['int8', 'int4', 'files'] as const satisfies readonly (QuantizedType | 'files')[];

export const quantizeOptions = {
  /**
   * Default: what a stitched model remembers, else as their files have them, `'files'`. Embeddings, norms, biases and the head stay as they
   * are; so do the files.
   */
  members: choice(HELD).optional().meta({
    description:
      'Hold the matrices of all members in 8 or 4 bits, int8 or int4, or as their files have them, files (default: what a stitched model remembers, or files)',
  }),
  /** Of single members, by name; the hub is called 'hub'. */
  quantize: z.record(z.string(), choice(HELD)).optional().meta({
    description: "The same of one member, as code=int4; the hub is called 'hub'. Repeatable",
    argument: 'name=int8|int4|files',
  }),
};

/** In how many bits members are held. */
export type QuantizeOptions = z.input<z.ZodObject<typeof quantizeOptions>>;

/** The names of its options, for `expectOptions`. */
export const QUANTIZE_OPTIONS = { members: true, quantize: true } as const;

/** What is known of a member before its weights are loaded. */
interface Named {
  name: string;
  adapter?: unknown;
  /** What it was held in when it was stitched. */
  held?: QuantizedType | 'files' | undefined;
}

/**
 * What each member's matrices are held in; undefined: as its files have them. An adapter is held as the hub that it adds to, so
 * that both have its matrices in common, unless it is named; where nothing is asked for, a member is held as it was. Throws BAD_OPTION
 * for a name that no member has.
 */
export function quantizationOf(
  members: readonly Named[],
  { members: all, quantize = {} }: QuantizeOptions,
): (QuantizedType | undefined)[] {
  const names = members.map(({ name }) => name);
  const unknown = Object.keys(quantize).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    const hint = didYouMean(unknown, names) || ` There are ${names.join(', ')}.`;
    throw new BtsError('BAD_OPTION', `quantize: there is no member '${unknown}'.${hint}`);
  }
  const hub = quantize[names[0]!] ?? all;
  return members.map(({ name, adapter, held }) => {
    const asked = quantize[name] ?? (adapter ? hub : all) ?? held;
    return asked === 'files' ? undefined : asked;
  });
}

/** Throws BAD_OPTION where matrices are to be quantized of a model that is one whole, or none that has members. */
export function expectUnquantized({ members, quantize }: QuantizeOptions, why: string): void {
  if ((members ?? 'files') === 'files' && Object.values(quantize ?? {}).every((held) => held === 'files')) return;
  throw new BtsError('BAD_OPTION', `${(members ?? 'files') === 'files' ? 'quantize' : 'members'}: ${why}`);
}

const MATRICES = new Set<Role>(['query', 'key', 'value', 'output', 'gate', 'up', 'down']);

/** Whether a stored tensor is a matrix of a layer, or several of them. */
const isMatrix = (spec: Pick<ParameterSpec, 'parts'>): boolean => rolesOf(spec).every((role) => MATRICES.has(role));

const DELICATE = new Set<Role>(['value', 'output']);

/**
 * What a stored tensor is held in, of a member that is held so; undefined: as its file has it. Values and what leads out of the
 * attention have 8 bits at least: they are a tenth of a model, and a good part of what 4 bits cost.
 */
export function heldIn(
  spec: Pick<ParameterSpec, 'parts'>,
  quantized: QuantizedType | undefined,
): QuantizedType | undefined {
  if (!quantized || !isMatrix(spec)) return undefined;
  return rolesOf(spec).every((role) => DELICATE.has(role)) ? 'int8' : quantized;
}
