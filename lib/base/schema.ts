/**
 * The kinds of values that options have. A thing that has options says once, in an object of these, what each of them
 * may be, its default, and in `meta` the help of the command line and what that calls the value: types, checks, YAML and
 * `--help` follow. What errors say of a kind begins with 'expected' and names what there must be.
 */
import { z } from 'zod';
import { cut } from './show.js';

/** A whole number from `least` on, up to `most`. */
export function integer(least: number, most = Number.MAX_SAFE_INTEGER) {
  const error = ({ code }: { code: string }) => {
    const isOpen = most === Number.MAX_SAFE_INTEGER && code !== 'too_big';
    return `expected a whole number from ${least} ${isOpen ? 'on' : `to ${most}`}`;
  };
  return z.int({ error }).min(least, { error }).max(most, { error });
}

export const count = () => integer(1);

/** Of random choices. */
export const seed = () => integer(0).default(0);

export function positive(most?: number) {
  const error = `expected a positive number${most === undefined ? '' : ` up to ${most}`}`;
  const kind = z.number({ error }).positive({ error });
  return most === undefined ? kind : kind.max(most, { error });
}

export function nonNegative() {
  const error = 'expected a number from 0 on';
  return z.number({ error }).min(0, { error });
}

/** From 0 to 1. */
export function fraction() {
  const error = 'expected a number from 0 to 1';
  return z.number({ error }).min(0, { error }).max(1, { error });
}

/** From 0 to less than 1. */
export function properFraction() {
  const error = 'expected a number from 0 to less than 1';
  return z.number({ error }).min(0, { error }).lt(1, { error });
}

/** The same kind of number, or Infinity: never, or without end. */
export function orInfinity(kind: z.ZodNumber) {
  return z.union([kind, z.literal(Number.POSITIVE_INFINITY)]);
}

/** One of several names. */
export function choice<const Names extends readonly [string, ...string[]]>(names: Names) {
  const quoted = names.map((name) => `'${name}'`);
  const last = quoted.pop()!;
  return z.enum(names, { error: `expected ${quoted.length > 0 ? `${quoted.join(', ')} or ${last}` : last}` });
}

export const flag = () => z.boolean({ error: 'expected true or false' });

/** Text with something in it; `what` names it in errors. */
export const text = (what = 'text') => z.string({ error: `expected ${what}` }).min(1, `expected ${what}`);

export const folder = () => text('a folder');

/** A string of several values between commas, or a list of them, each checked by `element`. */
export function commaList<T extends z.ZodType<unknown, string>>(element: T) {
  const list = z.array(element).min(1, 'expected at least one');
  return z.preprocess((value) => (typeof value === 'string' ? value.split(',') : value), list);
}

/** An option's kind without what makes it optional, its default, undefined where there is none, and its help. */
export function unwrap(option: z.ZodType): { kind: z.ZodType; fallback?: unknown; help: Help } {
  const inner = within(option);
  const { kind, fallback, help } = inner ? unwrap(inner) : { kind: option, help: {} };
  return {
    kind,
    fallback: option instanceof z.ZodDefault ? option.def.defaultValue : fallback,
    help: { ...help, ...option.meta() },
  };
}

/** What `meta` says of an option, or of what it is made of: an option with another default keeps its help. */
export interface Help {
  description?: string | undefined;
  /** What the command line calls the value. */
  argument?: string | undefined;
}

function within(option: z.ZodType): z.ZodType | undefined {
  const isWrapper =
    option instanceof z.ZodOptional || option instanceof z.ZodReadonly || option instanceof z.ZodDefault;
  if (isWrapper) return option.unwrap() as z.ZodType;
  return option instanceof z.ZodUnion ? (option.options[0] as z.ZodType) : undefined;
}

/** What is wrong with one of the values of an object of options, in words that may follow its name. */
export function faultOf(issue: z.core.$ZodIssue, options: unknown): string {
  if (issue.code === 'invalid_union' && issue.errors.length > 0) {
    const [[first]] = issue.errors as [[z.core.$ZodIssue]];
    return faultOf({ ...first, path: [...issue.path, ...first.path] }, options);
  }
  const [{ message }] = issue.code === 'invalid_key' ? (issue.issues as [z.core.$ZodIssue]) : [issue];
  const words = message.charAt(0).toLowerCase() + message.slice(1);
  const value = valueAt(options, issue.path);
  const isPlain = value === null || ['string', 'number', 'boolean', 'undefined'].includes(typeof value);
  if (!words.includes('expected') || words.includes('received') || !isPlain) return words;
  return `${words}, not ${typeof value === 'string' ? `'${cut(value)}'` : value}`;
}

/** What lies at a path of options as they were given: a list may be a string with commas. */
function valueAt(options: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => {
    if (typeof value === 'string' && typeof part === 'number') return value.split(',')[part];
    return typeof value === 'object' && value !== null ? value[part as keyof typeof value] : undefined;
  }, options);
}
