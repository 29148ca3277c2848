import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { faultOf, unwrap } from '../../base/schema.js';
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
  const faults = firstOfEach(parsed.error.issues).map((issue) => {
    const [name, ...inner] = issue.path as [string, ...PropertyKey[]];
    if (all[name] === undefined) return `--${kebab(name)} is missing`;
    // Of a list the value is named, not its place; of NAME=VALUE the name.
    const key = inner.find((part) => typeof part === 'string');
    const written = inFile.written.get(name);
    const place =
      name in given ? `--${kebab(name)}${key ? ` ${key}` : ''}` : `'${file}', ${written}${key ? `.${key}` : ''}`;
    return `${place}: ${faultOf(issue, all)}`;
  });
  throw new BtsError('BAD_OPTION', `${faults.join('; ')}. See 'bts ${command.name()} --help'.`);
}

/** One fault of each option: a number that is too small may also be no whole one. */
function firstOfEach(issues: readonly z.core.$ZodIssue[]): z.core.$ZodIssue[] {
  return [...new Map(issues.toReversed().map((issue) => [issue.path.join('.'), issue])).values()].reverse();
}

/** The fields that are there: for callees that take absent but not undefined. */
export function present<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

function commandOptions(name: string, field: z.ZodType): Option[] {
  const { kind, fallback, help } = unwrap(field);
  if (!(kind instanceof z.ZodBoolean)) return [valueOption(name, field)];
  const { description = '' } = help;
  const [on, off] = [`--${kebab(name)}`, `--no-${kebab(name)}`];
  if (fallback === true) return [new Option(off, `${description} (default: ${on})`), new Option(on).hideHelp()];
  return [new Option(on, description), new Option(off).hideHelp()];
}

function valueOption(name: string, field: z.ZodType): Option {
  const { kind, fallback, help } = unwrap(field);
  const { description = '', argument } = help;
  const hasDefault = typeof fallback === 'string' || Number.isFinite(fallback);
  const shown = hasDefault ? `${description} (default: ${fallback})` : description;
  const option = (placeholder: string) => new Option(`--${kebab(name)} <${argument ?? placeholder}>`, shown);
  if (kind instanceof z.ZodNumber) return option('number').argParser(toNumber);
  if (kind instanceof z.ZodEnum) return option(kind.options.join('|'));
  if (kind instanceof z.ZodArray) {
    return option('text').argParser((text, before: string[] | undefined) => [...(before ?? []), text]);
  }
  if (kind instanceof z.ZodRecord) {
    const numeric = unwrap(kind.valueType as z.ZodType).kind instanceof z.ZodNumber;
    return option('name=value').argParser((text, before: Values | undefined) => {
      const [key, value] = toPair(text);
      if (before && Object.hasOwn(before, key)) throw new InvalidArgumentError(`'${key}' is given twice.`);
      return { ...before, [key]: numeric ? toNumber(value) : value };
    });
  }
  return option('text');
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
