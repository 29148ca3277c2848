/** Matrices in 8 and 4 bits by their definition (native/quantized.h): the bytes that a tensor has, and what they stand for. */
import type { QuantizedType } from '../../lib/tensor/addon.js';
import { bytesOf } from '../../lib/tensor/addon.js';

const FORMATS = {
  int8: { numbers: 128, header: 4, bytes: 132 },
  int4: { numbers: 32, header: 8, bytes: 24 },
} as const;

/** Random codes, and scales near `scale`. */
export function drawBytes(
  dtype: QuantizedType,
  shape: readonly number[],
  scale: number,
  uint32: () => number,
): Uint8Array {
  const all = new Uint8Array(bytesOf(dtype, shape));
  const view = new DataView(all.buffer);
  const { header, bytes } = FORMATS[dtype];
  const uniform = () => uint32() / 2 ** 32;
  for (let at = 0; at < all.length; at += bytes) {
    const step = (scale * (0.5 + uniform())) / (dtype === 'int8' ? 64 : 4);
    view.setFloat32(at, step, true);
    if (dtype === 'int4') view.setFloat32(at + 4, -step * (4 + 7 * uniform()), true);
    for (let i = header; i < bytes; i++) {
      const byte = uint32() % 256;
      all[at + i] = dtype === 'int8' && byte === 128 ? 0 : byte;
    }
  }
  return all;
}

/** What the bytes stand for, rounded to f32. */
export function dequantize(dtype: QuantizedType, shape: readonly number[], all: Uint8Array): Float64Array {
  const [rows = 0, width = 0] = shape;
  const { numbers, header, bytes } = FORMATS[dtype];
  const view = new DataView(all.buffer, all.byteOffset);
  const perRow = Math.ceil(width / numbers) * bytes;
  return Float64Array.from({ length: rows * width }, (_, index) => {
    const i = index % width;
    const group = Math.floor(index / width) * perRow + Math.floor(i / numbers) * bytes;
    const k = i % numbers;
    const scale = view.getFloat32(group, true);
    if (dtype === 'int8') return Math.fround(scale * view.getInt8(group + header + k));
    const byte = all[group + header + (k % 16)]!;
    return Math.fround(scale * (k < 16 ? byte & 15 : byte >> 4) + view.getFloat32(group + 4, true));
  });
}

/** What is left of numbers that are rounded to the nearest of codes that are spaced evenly over the range of each group. */
export function naiveQuantized(dtype: QuantizedType, shape: readonly number[], data: Float64Array): Float64Array {
  const [rows = 0, width = 0] = shape;
  const { numbers } = FORMATS[dtype];
  const result = new Float64Array(data.length);
  for (let row = 0; row < rows; row++)
    for (let first = 0; first < width; first += numbers) {
      const from = row * width + first;
      const group = data.subarray(from, from + Math.min(numbers, width - first));
      const [least, most] = [Math.min(...group), Math.max(...group)];
      const [zero, step] = dtype === 'int8' ? [0, Math.max(-least, most) / 127] : [least, (most - least) / 15];
      group.forEach((x, i) => {
        result[from + i] = step > 0 ? zero + Math.round((x - zero) / step) * step : zero;
      });
    }
  return result;
}
