import type { z } from 'zod';
import { BtsError } from './errors.js';
import { faultOf } from './schema.js';
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
  expectNames(where, options, Object.keys(names));
}

/**
 * The options of a function as its schema has them, defaults filled in, and its `others`, such as signals and callbacks,
 * which no schema is about. Throws BAD_OPTION for an option that there is not, and for a value that is none of its kind.
 */
export function checkOptions<Schema extends z.ZodObject, Options extends z.input<Schema>>(
  where: string,
  schema: Schema,
  options: Options,
  others: OptionNames<Omit<Options, keyof z.input<Schema>>>,
): z.output<Schema> & Omit<Options, keyof z.input<Schema>> {
  expectNames(where, options, [...Object.keys(schema.shape), ...Object.keys(others)]);
  return { ...options, ...parseOptions(schema, options) };
}

/** The options that a schema has among others, defaults filled in. Throws BAD_OPTION for a value that is none of its kind. */
export function parseOptions<Schema extends z.ZodObject>(schema: Schema, options: z.input<Schema>): z.output<Schema> {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const fault = faultOf(issue!, options);
  const name = issue!.path.join('.');
  const says = fault.startsWith('expected ') ? ` must be ${fault.slice('expected '.length)}` : `: ${fault}`;
  throw new BtsError('BAD_OPTION', `${name}${says}.`);
}

function expectNames(where: string, options: object, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null) {
    throw new BtsError('BAD_OPTION', `${where}: expected an object of options, not ${String(options)}.`);
  }
  const unknown = Object.keys(options).find((name) => !names.includes(name));
  if (unknown === undefined) return;
  const hint = didYouMean(unknown, names) || ` There are ${names.join(', ')}.`;
  throw new BtsError('BAD_OPTION', `${where} has no option '${unknown}'.${hint}`);
}
