/** f16 and bf16 by their definition: the nearest multiple of the last place, ties to even. */
import type { DType } from '../../lib/tensor/addon.js';
import type { Element } from './reference.js';

interface Format {
  fractionBits: number;
  lowestExponent: number;
  highestExponent: number;
}

const formats: Partial<Record<DType, Format>> = {
  f16: { fractionBits: 10, lowestExponent: -14, highestExponent: 15 },
  bf16: { fractionBits: 7, lowestExponent: -126, highestExponent: 127 },
};

function roundToEven(x: number): number {
  const down = Math.floor(x);
  const rest = x - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

const single = new Float32Array(1);
const word = new Uint32Array(single.buffer);

/** Whether bf16, the upper half of f32, holds x: so is most of what large cases are made of, and rounding takes long. */
function isBf16(x: number): boolean {
  single[0] = x;
  return single[0] === x && (word[0]! & 0xffff) === 0;
}

/** The value of the element type nearest to x; activations are taken for f32. */
export function narrow(x: number, dtype: Element): number {
  if (dtype === 'f32' || dtype === 'activation') return Math.fround(x);
  if (dtype === 'bf16' && isBf16(x)) return x;
  const format = formats[dtype];
  if (!format) return x;
  if (x === 0 || !Number.isFinite(x)) return x;
  const exponent = Math.max(Math.floor(Math.log2(Math.abs(x))), format.lowestExponent);
  const place = 2 ** (exponent - format.fractionBits);
  const rounded = Math.sign(x) * roundToEven(Math.abs(x) / place) * place;
  return Math.abs(rounded) >= 2 ** (format.highestExponent + 1) ? Math.sign(x) * Number.POSITIVE_INFINITY : rounded;
}

/** The number that 16 bits stand for. */
export function decode(bits: number, dtype: 'f16' | 'bf16'): number {
  const { fractionBits, lowestExponent, highestExponent } = formats[dtype]!;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits & 0x7fff) >> fractionBits;
  const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
  if (exponent === 0) return sign * fraction * 2 ** lowestExponent;
  if (exponent + lowestExponent - 1 > highestExponent) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction) * 2 ** (exponent + lowestExponent - 1);
}

/** The bits of a number that the type holds exactly. */
export function encode(x: number, dtype: 'f16' | 'bf16'): number {
  const { fractionBits, lowestExponent, highestExponent } = formats[dtype]!;
  const top = (highestExponent - lowestExponent + 2) << fractionBits;
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  if (Number.isNaN(x)) return top | (1 << (fractionBits - 1));
  if (magnitude === Number.POSITIVE_INFINITY) return sign | top;
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), lowestExponent);
  const fraction = magnitude * 2 ** (fractionBits - exponent);
  // The leading one of a normal number counts as one step of the exponent field; a subnormal has none.
  return sign | (((exponent - lowestExponent) << fractionBits) + fraction);
}
