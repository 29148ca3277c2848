import { z } from 'zod';
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

/** What options of a schema may be, and what they are once they are checked. */
type Given<Shape extends z.ZodRawShape> = z.input<z.ZodObject<Shape>>;
type Checked<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape>>;

/**
 * The options of a function as its schema has them, defaults filled in, and its `others`, such as signals and callbacks,
 * which no schema is about. Throws BAD_OPTION for an option that there is not, and for a value that is none of its kind.
 */
export function checkOptions<Shape extends z.ZodRawShape, Options extends Given<Shape>>(
  where: string,
  schema: Shape,
  options: Options,
  others: OptionNames<Omit<Options, keyof Shape>>,
): Checked<Shape> & Omit<Options, keyof Shape> {
  expectNames(where, options, [...Object.keys(schema), ...Object.keys(others)]);
  return { ...options, ...parseOptions(schema, options) };
}

/** The options that a schema has among others, defaults filled in. Throws BAD_OPTION for a value that is none of its kind. */
export function parseOptions<Shape extends z.ZodRawShape>(schema: Shape, options: Given<Shape>): Checked<Shape> {
  const parsed = objectOf(schema).safeParse(options);
  if (parsed.success) return parsed.data as Checked<Shape>;
  const [issue] = parsed.error.issues;
  const fault = faultOf(issue!, options);
  const name = issue!.path.join('.');
  const says = fault.startsWith('expected ') ? ` must be ${fault.slice('expected '.length)}` : `: ${fault}`;
  throw new BtsError('BAD_OPTION', `${name}${says}.`);
}

/** zod's objects are slow to make and fast to use. */
const objects = new WeakMap<z.ZodRawShape, z.ZodObject>();

function objectOf(shape: z.ZodRawShape): z.ZodObject {
  const object = objects.get(shape) ?? z.object(shape);
  objects.set(shape, object);
  return object;
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
