import {
  abs,
  divideWithRest,
  exponentText,
  floatText,
  intText,
  isNegative,
  numeric,
  scaled,
  specialText,
  toFloat,
} from './numbers.js';
import { str } from './repr.js';
import { codePoints, countCodePoints, expectLength, typeError, typeName, type Value, valueError } from './values.js';

/** More digits than any float has; CPython has a larger limit of its own. */
const MAX_PRECISION = 2000;

const SPEC =
  /^(?:(?<fill>.)?(?<align>[<>=^]))?(?<sign>[-+ ])?(?<alternate>#)?(?<zero>0)?(?<width>\d+)?(?<grouping>[,_])?(?:\.(?<precision>\d+))?(?<type>[a-zA-Z%])?$/su;

/** How a number is written, in the words of `format(value, spec)` and of `%`. */
export interface NumberStyle {
  type: string;
  precision?: number | undefined;
  /** '+' or ' ' for numbers that are not negative. */
  sign?: string | undefined;
  isAlternate?: boolean;
  grouping?: string | undefined;
}

/** What stands on both sides of the padding that `=` and `0` put between sign and digits. */
export interface NumberText {
  sign: string;
  prefix: string;
  digits: string;
  /** The point, what follows, an exponent, a percent sign. */
  rest: string;
}

/** `format(value, spec)` @throws ValueError, TypeError */
export function format(value: Value, spec: string): string {
  if (spec === '') return str(value);
  const parts = SPEC.exec(spec)?.groups;
  if (!parts) throw valueError(`Invalid format specifier '${spec}' for object of type '${typeName(value)}'`);
  const { fill, align, sign, alternate, zero, grouping, type } = parts;
  const [width, precision] = [limited(parts.width), limited(parts.precision)];
  if (typeof value === 'string') {
    if (type && type !== 's') throw unknownCode(type, value);
    if (sign || align === '=') throw valueError('a sign and = are for numbers, not for texts');
    const text = precision === undefined ? value : Array.from(codePoints(value)).slice(0, precision).join('');
    return pad(text, width ?? 0, align ?? '<', fill ?? (zero ? '0' : ' '));
  }
  const number = numeric(value);
  if (number === undefined) throw typeError(`unsupported format string passed to ${typeName(value)}.__format__`);
  const isInt = typeof number === 'bigint';
  if (type && !(isInt ? 'bcdoxXneEfFgG%' : 'neEfFgG%').includes(type)) throw unknownCode(type, value);
  if (grouping && type && (grouping === ',' ? 'nboxXc' : 'nc').includes(type)) {
    throw valueError(`Cannot specify '${grouping}' with '${type}'`);
  }
  if ((sign || alternate) && type === 'c') throw valueError("neither sign nor # go with 'c'");
  const style = {
    type: isInt && (!type || type === 'n') ? 'd' : (type ?? ''),
    precision,
    sign,
    isAlternate: alternate !== undefined,
    grouping,
  };
  const text = numberText(number, style);
  if (align === '=' || (zero && !align)) {
    return padInside(text, width ?? 0, fill ?? (zero ? '0' : ' '), grouping, groupSize(style.type));
  }
  return pad(joined(text), width ?? 0, align ?? '>', fill ?? (zero ? '0' : ' '));
}

function limited(digits: string | undefined): number | undefined {
  if (digits === undefined) return undefined;
  expectLength(Number(digits));
  return Number(digits);
}

const unknownCode = (type: string, value: Value) =>
  valueError(`Unknown format code '${type}' for object of type '${typeName(value)}'`);

export const joined = ({ sign, prefix, digits, rest }: NumberText) => `${sign}${prefix}${digits}${rest}`;

/** A number in parts, none of them padded. @throws ValueError, OverflowError */
export function numberText(value: bigint | number, style: NumberStyle): NumberText {
  const { type, sign, grouping } = style;
  const negative = typeof value === 'bigint' ? value < 0n : isNegative(value);
  const text = 'bcdoxX'.includes(type || '-') ? integerText(value as bigint, style) : floating(toFloat(value), style);
  return {
    sign: negative ? '-' : sign === '+' || sign === ' ' ? sign : '',
    ...text,
    digits: grouping ? group(text.digits, grouping, groupSize(type)) : text.digits,
  };
}

const RADIX: Record<string, number> = { b: 2, o: 8, x: 16, X: 16 };

function integerText(value: bigint, { type, precision, isAlternate }: NumberStyle): Omit<NumberText, 'sign'> {
  if (precision !== undefined) throw valueError('Precision not allowed in integer format specifier');
  if (type === 'c') {
    if (value < 0n || value > 0x10ffffn) throw valueError('%c arg not in range(0x110000)');
    return { prefix: '', digits: String.fromCodePoint(Number(value)), rest: '' };
  }
  const radix = RADIX[type];
  const digits = radix ? abs(value).toString(radix) : intText(abs(value));
  return {
    prefix: radix && isAlternate ? `0${type}` : '',
    digits: type === 'X' ? digits.toUpperCase() : digits,
    rest: '',
  };
}

function floating(value: number, { type, precision, isAlternate = false }: NumberStyle): Omit<NumberText, 'sign'> {
  if (precision !== undefined && precision > MAX_PRECISION) throw valueError('precision too big');
  if (!Number.isFinite(value)) {
    const text = specialText(Math.abs(value));
    const digits = type !== '' && 'EFG'.includes(type) ? text.toUpperCase() : text;
    return { prefix: '', digits, rest: type === '%' ? '%' : '' };
  }
  const text = floatingText(Math.abs(value), type, precision, isAlternate);
  const cased = type !== '' && 'EG'.includes(type) ? text.toUpperCase() : text;
  const digits = /^(?:\d+|inf)/.exec(cased)![0];
  return { prefix: '', digits, rest: cased.slice(digits.length) };
}

function floatingText(value: number, type: string, precision: number | undefined, isAlternate: boolean): string {
  switch (type.toLowerCase()) {
    case '':
      return precision === undefined ? floatText(value) : general(value, precision, isAlternate, true);
    case 'f':
      return fixed(value, precision ?? 6, isAlternate);
    case '%':
      return `${Number.isFinite(value * 100) ? fixed(value * 100, precision ?? 6, isAlternate) : 'inf'}%`;
    case 'e':
      return exponential(value, precision ?? 6, isAlternate);
    default:
      return general(value, precision ?? 6, isAlternate, false);
  }
}

function fixed(value: number, precision: number, keepsPoint: boolean): string {
  const digits = `${scaled(value, precision)}`.padStart(precision + 1, '0');
  const point = digits.length - precision;
  const fraction = digits.slice(point);
  return `${digits.slice(0, point)}${fraction || keepsPoint ? '.' : ''}${fraction}`;
}

function exponential(value: number, precision: number, keepsPoint: boolean): string {
  const { digits, exponent } = significant(value, precision + 1);
  const point = precision > 0 || keepsPoint ? '.' : '';
  return `${digits[0]}${point}${digits.slice(1)}e${exponentText(exponent)}`;
}

/** `g`: so many significant digits, fixed or with an exponent, without zeros at the end. */
function general(value: number, precision: number, keepsZeros: boolean, hasFraction: boolean): string {
  const count = Math.max(precision, 1);
  const { digits, exponent } = significant(value, count);
  const isFixed = exponent >= -4 && exponent < (hasFraction ? Math.max(count - 1, 0) : count);
  const text = isFixed ? fixed(value, Math.max(count - 1 - exponent, 0), keepsZeros) : undefined;
  if (text !== undefined) {
    const short = keepsZeros || !text.includes('.') ? text : text.replace(/\.?0+$/, '');
    return hasFraction && !short.includes('.') ? `${short}.0` : short;
  }
  const fraction = keepsZeros ? digits.slice(1) : digits.slice(1).replace(/0+$/, '');
  return `${digits[0]}${fraction || keepsZeros ? '.' : ''}${fraction}e${exponentText(exponent)}`;
}

/** So many significant digits, rounded, and the power of ten of the first. */
function significant(value: number, count: number): { digits: string; exponent: number } {
  if (value === 0) return { digits: '0'.repeat(count), exponent: 0 };
  const exponent = Number(value.toExponential().split('e')[1]);
  const digits = `${scaled(value, count - 1 - exponent)}`;
  // 9.99 rounds to 10.0
  return digits.length > count ? { digits: digits.slice(0, count), exponent: exponent + 1 } : { digits, exponent };
}

const groupSize = (type: string) => (/[boxX]/.test(type) ? 4 : 3);

const group = (digits: string, mark: string, size: number) =>
  digits.replace(new RegExp(`\\B(?=(?:[\\da-fA-F]{${size}})+$)`, 'g'), mark);

/** `text` in a field of `width` code points. */
export function pad(text: string, width: number, align: string, fill: string): string {
  const missing = Math.max(width - countCodePoints(text), 0);
  const left = align === '<' ? 0 : align === '^' ? Number(divideWithRest(BigInt(missing), 2n)[0]) : missing;
  return `${fill.repeat(left)}${text}${fill.repeat(missing - left)}`;
}

/** Padding between sign and digits; zeros are digits, and are grouped as they are. */
export function padInside(text: NumberText, width: number, fill: string, grouping?: string, groupedBy = 3): string {
  const size = width - joined(text).length + text.digits.length;
  if (!grouping || fill !== '0') return joined({ ...text, digits: pad(text.digits, size, '>', fill) });
  let digits = text.digits.replaceAll(grouping, '');
  while (group(digits, grouping, groupedBy).length < size) digits = `0${digits}`;
  return joined({ ...text, digits: group(digits, grouping, groupedBy) });
}
