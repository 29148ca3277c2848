/** Scales and zeros of a matrix in codes. */
import { BtsError } from '../../base/errors.js';
import { readTensor, type TensorEntry } from '../safetensors.js';
import { quote } from '../safetensors-header.js';
import type { Complain } from './check-shapes.js';
import { readIntegers } from './integers.js';
import type { PackedMatrix } from './matrix.js';

/** What belongs to the groups of a matrix [O, I], of which there are G in a row. */
export interface GroupNumbers {
  /** [O, G], in the type that the file has. */
  scales: Float32Array | Uint16Array;
  /** [O, G], in the numbers of the codes. */
  zeros: Int32Array;
  /** [I]. */
  groups: Int32Array;
}

/** Throws BAD_CHECKPOINT for scales that are no numbers, and for zeros that contradict config.json; and what reading throws. */
export async function readGroupNumbers(matrix: PackedMatrix): Promise<GroupNumbers> {
  const { name, shape, scheme } = matrix;
  const fail: Complain = (reason) => new BtsError('BAD_CHECKPOINT', `${quote(name)} ${reason}.`);
  const [O = 0, I = 0] = shape;
  const size = scheme.groupSize ?? I;
  const scales = await readScales(matrix, O, I / size, fail);
  const zeros = await readZeros(matrix, O, I / size, fail);
  return { scales, zeros, groups: matrix.groups ?? Int32Array.from({ length: I }, (_, i) => Math.floor(i / size)) };
}

// All bits of the exponent: no finite number has them.
const NOT_FINITE = { F16: 0x7c00, BF16: 0x7f80 } as const;

async function readScales({ scales, scheme }: PackedMatrix, O: number, G: number, fail: Complain) {
  const { buffer } = await readTensor(scales);
  const all = scales.dtype === 'F32' ? new Float32Array(buffer) : new Uint16Array(buffer);
  const exponent = NOT_FINITE[scales.dtype as 'F16'];
  const wrong = all.findIndex((x) => (scales.dtype === 'F32' ? !Number.isFinite(x) : (x & exponent) === exponent));
  if (wrong >= 0) throw fail(`has the scale ${wrong} in ${quote(scales.name)}, which is not finite`);
  const placed = new (all.constructor as Float32ArrayConstructor)(O * G);
  const byOutputs = scheme.layout === 'packed' || scheme.layout === 'bytes';
  for (let o = 0; o < O; o++)
    for (let g = 0; g < G; g++) placed[o * G + g] = all[scheme.perTensor ? 0 : byOutputs ? o * G + g : g * O + o]!;
  return placed as Float32Array | Uint16Array;
}

async function readZeros({ zeros, scheme }: PackedMatrix, O: number, G: number, fail: Complain): Promise<Int32Array> {
  const { layout, bits, symmetric } = scheme;
  const middle = layout === 'bytes' ? 0 : 2 ** (bits - 1);
  const placed = new Int32Array(O * G).fill(middle);
  if (!zeros) return placed;
  const stored = await readIntegers(zeros);
  const zeroAt = zeroReader(zeros, stored, scheme, O, G);
  for (let o = 0; o < O; o++) for (let g = 0; g < G; g++) placed[o * G + g] = zeroAt(o, g);
  const wrong = symmetric ? placed.findIndex((zero) => zero !== middle) : -1;
  if (wrong < 0) return placed;
  throw fail(
    `has the zero ${placed[wrong]} in ${quote(zeros.name)}, where config.json says that all are the middle, ${middle}`,
  );
}

/** One in every field of a word. */
const ONES = { 4: 0x11111111, 8: 0x01010101 } as const;

function zeroReader(
  { dtype }: TensorEntry,
  stored: readonly number[],
  { layout, bits, perTensor, zeroOffset }: PackedMatrix['scheme'],
  O: number,
  G: number,
): (o: number, g: number) => number {
  const inWord = 32 / bits;
  // Whole words are added to: a field of which too much was taken had borrowed from the next.
  const taken = zeroOffset * ONES[bits];
  const code = (word: number, place: number) => ((stored[word]! + taken) >>> (bits * place)) & (2 ** bits - 1);
  if (dtype === 'I8') {
    // Of codes that count from their least one.
    const least = layout === 'packed' ? 2 ** (bits - 1) : 0;
    return (o, g) => stored[perTensor ? 0 : o * G + g]! + least;
  }
  if (layout === 'packed' || layout === 'bytes')
    return (o, g) => code(Math.floor(o / inWord) * G + g, o % inWord) - (layout === 'bytes' ? 2 ** (bits - 1) : 0);
  const row = O / inWord;
  // AWQ's neighbours have the places 0 4 1 5 2 6 3 7.
  const place = (o: number) => (layout === 'awq' ? (o % 2) * 4 + Math.floor((o % 8) / 2) : o % inWord);
  return (o, g) => code(g * row + Math.floor(o / inWord), place(o));
}
