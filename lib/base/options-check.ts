import { BtsError } from './errors.js';
import { didYouMean } from './suggest.js';

/** Every option of a function, by name: the compiler misses one that was added to `Options`, and refuses one that was not. */
export type OptionNames<Options> = { readonly [Name in keyof Required<Options>]: true };

/**
 * Throws BAD_OPTION unless `options` is an object that has no other fields than `names`: a mistyped option would be ignored.
 * `where` is what callers know the function by, such as 'StitchedModel.create'.
 */
export function expectOptions<Options extends object>(
  where: string,
  options: Options,
  names: OptionNames<Options>,
): void {
  if (typeof options !== 'object' || options === null) {
    throw new BtsError('BAD_OPTION', `${where}: expected an object of options, not ${String(options)}.`);
  }
  const unknown = Object.keys(options).find((name) => !Object.hasOwn(names, name));
  if (unknown === undefined) return;
  const known = Object.keys(names);
  const hint = didYouMean(unknown, known) || ` There are ${known.join(', ')}.`;
  throw new BtsError('BAD_OPTION', `${where} has no option '${unknown}'.${hint}`);
}
