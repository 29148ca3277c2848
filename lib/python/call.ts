import { numeric } from './numbers.js';
import { type Keywords, lengthOf, MAX_LENGTH, typeError, typeName, type Value } from './values.js';

/** A parameter's name, ending in `?` where it may be left out. */
export type Parameters = readonly string[];

/**
 * The arguments of a call in the order of its parameters; undefined where one is left out.
 * @throws TypeError for too many, missing and unknown ones
 */
export function bind(
  name: string,
  parameters: Parameters,
  args: readonly Value[],
  keywords: Keywords,
): (Value | undefined)[] {
  if (args.length > parameters.length) {
    throw typeError(`${name}() takes at most ${parameters.length} arguments (${args.length} given)`);
  }
  const bound: (Value | undefined)[] = [...args];
  const names = parameters.map((parameter) => parameter.replace('?', ''));
  for (const [keyword, value] of keywords) {
    const at = names.indexOf(keyword);
    if (at === -1) throw typeError(`${name}() got an unexpected keyword argument '${keyword}'`);
    if (bound[at] !== undefined) throw typeError(`${name}() got multiple values for argument '${keyword}'`);
    bound[at] = value;
  }
  const missing = parameters.findIndex((parameter, i) => bound[i] === undefined && !parameter.endsWith('?'));
  if (missing !== -1) throw typeError(`${name}() missing required argument '${parameters[missing]}'`);
  return bound;
}

export function expectText(value: Value | undefined, what: string): string {
  if (typeof value === 'string') return value;
  throw typeError(`${what} must be str, not ${typeName(value ?? null)}`);
}

/** A small integer: a position, a count, a width. @throws TypeError for what is no int */
export function expectIndex(value: Value | undefined, what: string): number {
  const number = numeric(value ?? null);
  if (typeof number !== 'bigint')
    throw typeError(`${what}: '${typeName(value ?? null)}' object cannot be interpreted as an integer`);
  // What lies past every text and list is all the same.
  return Number(
    number > 2n * BigInt(MAX_LENGTH) ? 2 * MAX_LENGTH : number < -2 * MAX_LENGTH ? -2 * MAX_LENGTH : number,
  );
}

/** @throws TypeError for what has no length */
export function expectSize(value: Value): number {
  const length = lengthOf(value);
  if (length === undefined) throw typeError(`object of type '${typeName(value)}' has no len()`);
  return length;
}
