import type { Fail } from '../../base/check.js';
import { pythonMatch } from '../../python/match.js';
import { withinTime } from '../../python/within-time.js';

/** How the codes of a matrix, its scales and its zeros lie in a file. */
export type PackedLayout = 'gptq' | 'awq' | 'packed' | 'bytes';

/** How a matrix is packed. */
export interface Scheme {
  /** How codes lie in the file. */
  layout: PackedLayout;
  /** Of a code. */
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
  /** Who made it, by the name that config.json has. */
  method: 'gptq' | 'awq' | 'compressed-tensors';
  /** What modules have which scheme: their names or expressions ('re:...'), or 'Linear' for all; absent: those that have codes. */
  schemes: readonly { targets?: readonly string[]; scheme: Scheme }[];
  /** Modules that are left as they were, in the same way; of AWQ parts of their names. */
  ignored: readonly string[];
}

/**
 * The schemes of linear modules; undefined where one is to be left as it was; the only one where nothing is said. As compressed-tensors
 * has it, a module's own name goes before expressions, and these before 'Linear'. Throws what `fail` makes of expressions that cannot
 * be used, and of those that take too long.
 */
export function schemesOf(packing: Packing, modules: readonly string[], fail: Fail): Map<string, Scheme | undefined> {
  return withinTime(
    () => new Map(modules.map((module) => [module, schemeOf(packing, module, fail)])),
    (seconds) => fail(`finding its modules took more than ${seconds} seconds`),
  );
}

function schemeOf({ method, schemes, ignored }: Packing, module: string, fail: Fail): Scheme | undefined {
  const isName = (listed: string) => listed === module;
  const isExpression = (listed: string) =>
    listed.startsWith('re:') && pythonMatch(listed.slice(3), module, fail) !== undefined;
  const isClass = (listed: string) => listed === 'Linear';
  const isPart = (listed: string) => module.includes(listed);
  if (ignored.some((listed) => (method === 'awq' ? isPart(listed) : isName(listed) || isExpression(listed))))
    return undefined;
  for (const matches of [isName, isExpression, isClass]) {
    const found = schemes.find(({ targets }) => targets?.some(matches) ?? true);
    if (found) return found.scheme;
  }
  return undefined;
}
