import { joined, numberText, pad, padInside } from './format-spec.js';
import { numeric, truncate } from './numbers.js';
import { ascii, repr, str } from './repr.js';
import {
  codePoints,
  Dict,
  expectLength,
  PythonError,
  Tuple,
  typeError,
  typeName,
  type Value,
  valueError,
} from './values.js';

const FIELD =
  /%(?:\((?<name>[^)]*)\))?(?<flags>[-+ #0]*)(?<width>\*|\d*)(?:\.(?<precision>\*|\d*))?[hlL]?(?<type>.)?/gsu;

/** `template % args`: a tuple has one argument for each field, a dict those that fields name. @throws TypeError, ValueError */
export function percentFormat(template: string, args: Value): string {
  const values = args instanceof Tuple ? args.values : [args];
  let used = 0;
  const next = () => {
    if (used >= values.length) throw typeError('not enough arguments for format string');
    return values[used++]!;
  };
  let length = 0;
  const text = template.replace(FIELD, (field, ...rest) => {
    const shown = fieldText(rest.at(-1) as Field, args, next);
    length += shown.length - field.length;
    expectLength(length);
    return shown;
  });
  const isNamed = args instanceof Dict || Array.isArray(args);
  if (used < values.length && !isNamed) throw typeError('not all arguments converted during string formatting');
  return text;
}

type Field = Record<'name' | 'flags' | 'width' | 'precision' | 'type', string | undefined>;

function fieldText(field: Field, args: Value, next: () => Value): string {
  const { name, flags = '', type } = field;
  const width = size(field.width, next) ?? 0;
  const precision = size(field.precision, next);
  if (type === '%') return '%';
  if (type === undefined) throw valueError('incomplete format');
  const value = name === undefined ? next() : named(args, name);
  const align = flags.includes('-') || width < 0 ? '<' : '>';
  if ('sra'.includes(type)) {
    const text = { s: str, r: repr, a: ascii }[type as 's' | 'r' | 'a'](value);
    const cut = precision === undefined ? text : Array.from(codePoints(text)).slice(0, precision).join('');
    return pad(cut, Math.abs(width), align, ' ');
  }
  if (type === 'c') {
    const text = typeof value === 'string' ? value : joined(numberText(expectNumber(value, type) as bigint, { type }));
    if ([...text].length !== 1) throw typeError('%c requires int or char');
    return pad(text, Math.abs(width), align, ' ');
  }
  const isInt = 'diuoxX'.includes(type);
  if (!isInt && !'eEfFgG'.includes(type)) throw valueError(`unsupported format character '${type}'`);
  const number = expectNumber(value, type);
  const parts = numberText(isInt && typeof number === 'number' ? truncate(number) : isInt ? number : Number(number), {
    type: isInt ? type.replace(/[iu]/, 'd') : type,
    precision: isInt ? undefined : precision,
    sign: /[+ ]/.test(flags) ? (flags.includes('+') ? '+' : ' ') : undefined,
    isAlternate: flags.includes('#'),
  });
  if (isInt) parts.digits = parts.digits.padStart(precision ?? 0, '0');
  if (flags.includes('0') && align === '>') return padInside(parts, width, '0');
  return pad(joined(parts), Math.abs(width), align, ' ');
}

function named(args: Value, name: string): Value {
  if (!(args instanceof Dict)) throw typeError('format requires a mapping');
  const value = args.get(name);
  if (value === undefined) throw new PythonError('KeyError', repr(name));
  return value;
}

function size(text: string | undefined, next: () => Value): number | undefined {
  if (text === undefined) return undefined;
  const value = text === '*' ? Number(expectNumber(next(), '*')) : Number(text);
  expectLength(Math.abs(value));
  return value;
}

function expectNumber(value: Value, type: string): bigint | number {
  const number = numeric(value);
  if (number === undefined || ('oxX*c'.includes(type) && typeof number !== 'bigint')) {
    throw typeError(`%${type} format: a number is required, not ${typeName(value)}`);
  }
  return number;
}
