import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { type FileOptions, kebab, readConfigFile } from './config-file.js';

type Values = Record<string, unknown>;

/**
 * Gives a command an option for each field of a zod shape: `keyValueHeads: z.int()` becomes `--key-value-heads <number>`,
 * a boolean a switch (help shows `--no-NAME` where it is true by default; either is accepted), a record a repeatable NAME=VALUE, an array a repeatable
 * option. `meta` has the description, and as `argument` what to call the value.
 */
export function addOptions(command: Command, heading: string, shape: z.ZodRawShape): void {
  for (const [name, field] of Object.entries(shape)) {
    for (const option of commandOptions(name, field as z.ZodType)) command.addOption(option.helpGroup(heading));
  }
}

/** The option that every command with `addOptions` has for the file that its other options may come from. */
export function addConfigOption(command: Command): void {
  command.option('--config <file>', 'YAML or JSON file with any of these options; the command line wins');
}

/**
 * What the command line and the file of `--config` say, checked, with defaults filled in.
 * Throws BAD_OPTION naming the option, or the file and the key.
 */
export async function readOptions<Schema extends z.ZodObject>(
  command: Command,
  schema: Schema,
): Promise<z.output<Schema>> {
  return (await readGivenOptions(command, schema)).values;
}

/** The same, and the names of those options that were given, on the command line or in the file. */
export async function readGivenOptions<Schema extends z.ZodObject>(
  command: Command,
  schema: Schema,
): Promise<{ values: z.output<Schema>; given: string[] }> {
  const typed = command.opts();
  const given = Object.fromEntries(
    Object.entries(typed).filter(([name]) => name in schema.shape && command.getOptionValueSource(name) === 'cli'),
  );
  // A command may mean something else by --config, and then reads no file.
  const file: string | undefined = 'config' in schema.shape ? undefined : typed.config;
  const none: FileOptions = { values: {}, written: new Map() };
  const inFile = file === undefined ? none : await readConfigFile(file, Object.keys(schema.shape));
  const all: Values = { ...inFile.values, ...given };
  const parsed = schema.safeParse(all);
  if (parsed.success) return { values: parsed.data, given: Object.keys(all) };
  const faults = parsed.error.issues.map((issue) => {
    const [name, ...inner] = issue.path as [string, ...PropertyKey[]];
    if (all[name] === undefined) return `--${kebab(name)} is missing`;
    // Of a list the value is named, not its place; of NAME=VALUE the name.
    const key = inner.find((part) => typeof part === 'string');
    const written = inFile.written.get(name);
    const place =
      name in given ? `--${kebab(name)}${key ? ` ${key}` : ''}` : `'${file}', ${written}${key ? `.${key}` : ''}`;
    return `${place}: ${decapitalize(messageOf(issue, valueAt(all, issue.path)))}`;
  });
  throw new BtsError('BAD_OPTION', `${faults.join('; ')}. See 'bts ${command.name()} --help'.`);
}

function messageOf(issue: z.core.$ZodIssue, value: unknown): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  return issue.code === 'invalid_value' && typeof value === 'string'
    ? `${issue.message}, not '${value}'`
    : issue.message;
}

/** What lies at a path of the options as they were given: a list may be a string with commas. */
function valueAt(values: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value === 'string' && typeof part === 'number') return value.split(',')[part];
    return typeof value === 'object' && value !== null ? value[part as keyof typeof value] : undefined;
  }, values);
}

/** The fields that are there: for callees that take absent but not undefined. */
export function present<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

/** A string of several values between commas, or a list of them, each checked by `element`. */
export function commaList<T extends z.ZodType<unknown, string>>(element: T) {
  const list = z.array(element).min(1, 'expected at least one');
  return z.preprocess((value) => (typeof value === 'string' ? value.split(',') : value), list);
}

/** A whole number from `least` on. */
export function integer(least: number) {
  const error = ({ code }: { code: string }) => (code.startsWith('too_') ? undefined : 'expected a whole number');
  return z.int({ error }).min(least);
}

export const count = () => integer(1);

function commandOptions(name: string, field: z.ZodType): Option[] {
  const { type, fallback } = unwrap(field);
  if (!(type instanceof z.ZodBoolean)) return [valueOption(name, field)];
  const { description = '' } = field.meta() ?? {};
  const [on, off] = [`--${kebab(name)}`, `--no-${kebab(name)}`];
  if (fallback === true) return [new Option(off, `${description} (default: ${on})`), new Option(on).hideHelp()];
  return [new Option(on, description), new Option(off).hideHelp()];
}

function valueOption(name: string, field: z.ZodType): Option {
  const { description = '', argument = undefined } = field.meta() ?? {};
  const { type, fallback } = unwrap(field);
  const hasDefault = typeof fallback === 'string' || typeof fallback === 'number';
  const shown = hasDefault ? `${description} (default: ${fallback})` : description;
  const option = (placeholder: string) => new Option(`--${kebab(name)} <${argument ?? placeholder}>`, shown);
  if (type instanceof z.ZodNumber) return option('number').argParser(toNumber);
  if (type instanceof z.ZodEnum) return option(type.options.join('|'));
  if (type instanceof z.ZodArray) {
    return option('text').argParser((text, before: string[] | undefined) => [...(before ?? []), text]);
  }
  if (type instanceof z.ZodRecord) {
    const numeric = unwrap(type.valueType as z.ZodType).type instanceof z.ZodNumber;
    return option('name=value').argParser((text, before: Values | undefined) => {
      const [key, value] = toPair(text);
      if (before && Object.hasOwn(before, key)) throw new InvalidArgumentError(`'${key}' is given twice.`);
      return { ...before, [key]: numeric ? toNumber(value) : value };
    });
  }
  return option('text');
}

/** A field's type without what makes it optional, and its default. */
function unwrap(field: z.ZodType): { type: z.ZodType; fallback?: unknown } {
  if (field instanceof z.ZodOptional) return unwrap(field.unwrap() as z.ZodType);
  if (!(field instanceof z.ZodDefault)) return { type: field };
  return { ...unwrap(field.unwrap() as z.ZodType), fallback: field.def.defaultValue };
}

function toNumber(text: string): number {
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) return Number(text);
  throw new InvalidArgumentError(`'${text}' is not a number.`);
}

function toPair(text: string): [string, string] {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError(`expected NAME=VALUE.`);
  return [text.slice(0, at), text.slice(at + 1)];
}

const decapitalize = (text: string) => text.charAt(0).toLowerCase() + text.slice(1);
