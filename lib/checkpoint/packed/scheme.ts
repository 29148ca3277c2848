import type { Fail } from '../../base/check.js';
import { pythonMatch } from '../../python/match.js';

/** How the codes of a matrix, its scales and its zeros lie in a file. */
export type PackedLayout = 'gptq' | 'awq' | 'packed' | 'bytes';

/** How a matrix is packed. */
export interface Scheme {
  layout: PackedLayout;
  bits: 4 | 8;
  /** Inputs that have a scale in common; null: all of an output. */
  groupSize: number | null;
  /** One scale for the whole matrix. */
  perTensor: boolean;
  /** Zeros are the middle of all codes. */
  symmetric: boolean;
  /** What was taken from every zero of a file. */
  zeroOffset: 0 | 1;
  /** Groups of inputs need not be neighbours. */
  ordered: boolean;
}

/** What a checkpoint says of its matrices. */
export interface Packing {
  method: 'gptq' | 'awq' | 'compressed-tensors';
  /** What modules have which scheme: their names or expressions ('re:...'), or 'Linear' for all; absent: those that have codes. */
  schemes: readonly { targets?: readonly string[]; scheme: Scheme }[];
  /** Modules that are left as they were, in the same way; of AWQ parts of their names. */
  ignored: readonly string[];
}

/**
 * The scheme of a linear module; undefined where it is to be left as it was; the only one where nothing is said. Throws what `fail` makes
 * of expressions that cannot be used.
 */
export function schemeOf({ method, schemes, ignored }: Packing, module: string, fail: Fail): Scheme | undefined {
  const names = (listed: string) => {
    if (method === 'awq') return module.includes(listed);
    return listed.startsWith('re:') ? pythonMatch(listed.slice(3), module, fail) !== undefined : listed === module;
  };
  if (ignored.some(names)) return undefined;
  return schemes.find(({ targets }) => targets?.some((target) => target === 'Linear' || names(target)) ?? true)?.scheme;
}
