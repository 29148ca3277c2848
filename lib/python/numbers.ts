import { PythonError, type Value, valueError } from './values.js';

/** Digits of an int that may be written or read, as CPython limits them. */
const MAX_DIGITS = 4300;
const MAX_BITS = 1n << 17n;

export type Numeric = bigint | number;

/** A bool counts as an int; undefined for what is no number. */
export function numeric(value: Value): Numeric | undefined {
  if (typeof value === 'boolean') return BigInt(value);
  return typeof value === 'bigint' || typeof value === 'number' ? value : undefined;
}

/** `str(value)` of an int. @throws ValueError past CPython's number of digits */
export function intText(value: bigint): string {
  const text = `${value}`;
  if (text.length > MAX_DIGITS) {
    throw valueError(`Exceeds the limit (${MAX_DIGITS} digits) for integer string conversion`);
  }
  return text;
}

/** `repr(value)` of a float: the fewest digits that give it back, `1.0`, `1e-07`, `1e+16`, `inf`. */
export function floatText(value: number): string {
  if (!Number.isFinite(value)) return specialText(value);
  const [mantissa, power] = value.toExponential().split('e') as [string, string];
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) return `${minus(value)}${mantissa.replace('-', '')}e${exponentText(exponent)}`;
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) return `${minus(value)}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const padded = digits.padEnd(exponent + 2, '0');
  return `${minus(value)}${padded.slice(0, exponent + 1)}.${padded.slice(exponent + 1)}`;
}

export const specialText = (value: number) => (Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf');

/** A power of ten as Python writes it: a sign and two digits at least. */
export const exponentText = (exponent: number) =>
  `${exponent < 0 ? '-' : '+'}${`${Math.abs(exponent)}`.padStart(2, '0')}`;

export const isNegative = (value: number) => value < 0 || Object.is(value, -0);

const minus = (value: number) => (isNegative(value) ? '-' : '');

/**
 * A finite float times a power of ten, to the nearest integer, exactly; halves go to the even one. JavaScript's `toFixed`
 * takes the larger of two that are as near.
 */
export function scaled(value: number, digits: number): bigint {
  let [numerator, denominator] = fractionOf(value);
  if (digits >= 0) numerator *= 10n ** BigInt(digits);
  else denominator *= 10n ** BigInt(-digits);
  return divideToEven(numerator, denominator);
}

/** `round(value, digits)` */
export function round(value: Numeric, digits: number): Numeric {
  if (typeof value === 'bigint') {
    if (digits >= 0) return value;
    // An int has no more digits than this.
    if (-digits > MAX_DIGITS) return 0n;
    const unit = 10n ** BigInt(-digits);
    return divideToEven(value, unit) * unit;
  }
  // Beyond these digits a float is not rounded, before them nothing is left of it.
  if (!Number.isFinite(value) || digits > 323) return value;
  if (digits < -308) return value * 0;
  const rounded = Number(`${scaled(Math.abs(value), digits)}e${-digits}`);
  if (!Number.isFinite(rounded)) throw new PythonError('OverflowError', 'rounded value too large to represent');
  return isNegative(value) ? -rounded : rounded;
}

/** `int(value)` of a float. @throws ValueError, OverflowError for what is not finite */
export const truncate = (value: number) => BigInt(Math.trunc(expectFinite(value)));

function expectFinite(value: number): number {
  if (Number.isNaN(value)) throw valueError('cannot convert float NaN to integer');
  if (!Number.isFinite(value)) throw new PythonError('OverflowError', 'cannot convert float infinity to integer');
  return value;
}

/** `float(value)` of an int. @throws OverflowError */
export function toFloat(value: Numeric): number {
  const float = Number(value);
  if (typeof value === 'bigint' && !Number.isFinite(float)) {
    throw new PythonError('OverflowError', 'int too large to convert to float');
  }
  return float;
}

const DIGITS = /^[+-]?\p{Nd}+(?:_\p{Nd}+)*$/u;
const FLOAT =
  /^[+-]?(?:(?:\d+(?:_\d+)*\.?(?:\d+(?:_\d+)*)?|\.\d+(?:_\d+)*)(?:e[+-]?\d+(?:_\d+)*)?|inf(?:inity)?|nan)$/i;

/** `int(text, base)` for a text without white space around it; undefined where Python refuses it. */
export function parseInteger(text: string, base = 10): bigint | undefined {
  const plain = asciiDigits(text);
  if (base === 10) {
    if (!DIGITS.test(plain) || plain.length > MAX_DIGITS) return undefined;
    const digits = plain.replace(/[_+]/g, '');
    return digits.startsWith('-') ? -BigInt(digits.slice(1)) : BigInt(digits);
  }
  const [, sign, prefix, body] = /^([+-]?)(0[xob])?(\w+)$/i.exec(plain) ?? [];
  if (body === undefined || body.length > MAX_DIGITS) return undefined;
  const named = { '0x': 16, '0o': 8, '0b': 2 }[prefix?.toLowerCase() ?? ''];
  // A prefix of another base is made of its digits: `0b1` is 177 in base 16.
  const digits = (named === base || base === 0 ? body : `${prefix ?? ''}${body}`).replaceAll('_', '').toLowerCase();
  const radix = base === 0 ? (named ?? 10) : base;
  let result = 0n;
  for (const digit of digits) {
    const value = Number.parseInt(digit, 36);
    if (Number.isNaN(value) || value >= radix) return undefined;
    result = result * BigInt(radix) + BigInt(value);
  }
  return sign === '-' ? -result : result;
}

/** `float(text)` for a text without white space around it; undefined where Python refuses it. */
export function parseFloating(text: string): number | undefined {
  const plain = asciiDigits(text);
  if (!FLOAT.test(plain)) return undefined;
  const word = plain.replaceAll('_', '').toLowerCase();
  if (word.includes('inf')) return word.startsWith('-') ? -Infinity : Infinity;
  return word.includes('nan') ? Number.NaN : Number(word);
}

/** Digits of other scripts are digits too: their blocks of ten begin at multiples. */
function asciiDigits(text: string): string {
  return text.replace(/\p{Nd}/gu, (digit) => {
    let zero = digit.codePointAt(0)!;
    while (/\p{Nd}/u.test(String.fromCodePoint(zero - 1)) && digit.codePointAt(0)! - zero < 9) zero--;
    return digit < '\x80' ? digit : `${digit.codePointAt(0)! - zero}`;
  });
}

/** `a // b` and `a % b`, whose sign is the divisor's. @throws ZeroDivisionError */
export function divideWithRest(a: Numeric, b: Numeric): [Numeric, Numeric] {
  if (typeof a === 'bigint' && typeof b === 'bigint') {
    if (b === 0n) throw new PythonError('ZeroDivisionError', 'integer division or modulo by zero');
    const rest = a % b;
    return rest !== 0n && rest < 0n !== b < 0n ? [a / b - 1n, rest + b] : [a / b, rest];
  }
  const [x, y] = [toFloat(a), toFloat(b)];
  if (y === 0) throw new PythonError('ZeroDivisionError', 'float floor division by zero');
  let rest = x % y;
  let quotient = (x - rest) / y;
  if (rest !== 0) {
    if (rest < 0 !== y < 0) {
      rest += y;
      quotient -= 1;
    }
  } else {
    rest = isNegative(y) ? -0 : 0;
  }
  if (quotient === 0) return [isNegative(x) !== isNegative(y) ? -0 : 0, rest];
  const floor = Math.floor(quotient);
  return [quotient - floor > 0.5 ? floor + 1 : floor, rest];
}

/** `a / b`: a float, the nearest to the exact quotient. @throws ZeroDivisionError, OverflowError */
export function divide(a: Numeric, b: Numeric): number {
  if (Number(b) === 0) throw new PythonError('ZeroDivisionError', 'division by zero');
  if (typeof a !== 'bigint' || typeof b !== 'bigint') return toFloat(a) / toFloat(b);
  if (isSafe(a) && isSafe(b)) return Number(a) / Number(b);
  // 64 bits and whether anything is left: the conversion then rounds the exact quotient.
  const shift = 64 - (bitLength(a) - bitLength(b));
  const [top, bottom] = shift > 0 ? [abs(a) << BigInt(shift), abs(b)] : [abs(a), abs(b) << BigInt(-shift)];
  const quotient = (top / bottom) | (top % bottom === 0n ? 0n : 1n);
  const value = shift > 1000 ? Number(quotient) / 2 ** 1000 / 2 ** (shift - 1000) : Number(quotient) / 2 ** shift;
  if (!Number.isFinite(value)) throw new PythonError('OverflowError', 'integer division result too large for a float');
  return a < 0n !== b < 0n ? -value : value;
}

/** `a ** b` @throws ZeroDivisionError, OverflowError, MemoryError */
export function power(a: Numeric, b: Numeric): Numeric {
  if (typeof a === 'bigint' && typeof b === 'bigint' && b >= 0n) {
    if (abs(a) > 1n && BigInt(bitLength(a)) * b > MAX_BITS) throw tooLarge();
    return a ** b;
  }
  const [x, y] = [toFloat(a), toFloat(b)];
  if (x === 0 && y < 0) throw new PythonError('ZeroDivisionError', '0.0 cannot be raised to a negative power');
  // JavaScript has no answer here, Python (C99) has.
  if (x === 1 || (x === -1 && !Number.isFinite(y) && !Number.isNaN(y))) return 1;
  const result = floatPower(x, y);
  if (Number.isNaN(result) && !Number.isNaN(x) && !Number.isNaN(y)) {
    throw valueError('a negative number to a broken power is complex, which templates cannot show');
  }
  if (!Number.isFinite(result) && Number.isFinite(x) && Number.isFinite(y)) {
    throw new PythonError('OverflowError', 'Result too large');
  }
  return result;
}

/** JavaScript's powers are off by one in the last place now and then; whole ones and roots are exact here. */
function floatPower(x: number, y: number): number {
  const near = x ** y;
  if (y === 0.5 && x > 0) return Math.sqrt(x);
  const isPlain = Number.isInteger(y) && Math.abs(y) <= 64 && Math.abs(near) > 1e-300 && Math.abs(near) < 1e300;
  if (!isPlain) return near;
  const [numerator, denominator] = fractionOf(x).map((part) => part ** BigInt(Math.abs(y))) as [bigint, bigint];
  return y > 0 ? divide(numerator, denominator) : divide(denominator, numerator);
}

/** `a * b` @throws MemoryError, OverflowError */
export function multiply(a: Numeric, b: Numeric): Numeric {
  if (typeof a !== 'bigint' || typeof b !== 'bigint') return toFloat(a) * toFloat(b);
  if (!(isSafe(a) && isSafe(b)) && BigInt(bitLength(a) + bitLength(b)) > MAX_BITS) throw tooLarge();
  return a * b;
}

const tooLarge = () => new PythonError('MemoryError', `an integer of more than ${MAX_BITS} bits`);

export const abs = (value: bigint) => (value < 0n ? -value : value);

const isSafe = (value: bigint) => value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER;

const bitLength = (value: bigint) => (value === 0n ? 0 : abs(value).toString(2).length);

function divideToEven(numerator: bigint, denominator: bigint): bigint {
  const quotient = abs(numerator) / denominator;
  const rest = (abs(numerator) % denominator) * 2n;
  const up = rest > denominator || (rest === denominator && quotient % 2n === 1n);
  const rounded = up ? quotient + 1n : quotient;
  return numerator < 0n ? -rounded : rounded;
}

/** A finite float as an exact fraction. */
function fractionOf(value: number): [bigint, bigint] {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, value);
  const raw = bits.getBigUint64(0);
  const biased = Number((raw >> 52n) & 0x7ffn);
  const mantissa = (raw & 0xfffffffffffffn) | (biased === 0 ? 0n : 1n << 52n);
  const exponent = Math.max(biased, 1) - 1075;
  const signed = value < 0 ? -mantissa : mantissa;
  return exponent >= 0 ? [signed << BigInt(exponent), 1n] : [signed, 1n << BigInt(-exponent)];
}
