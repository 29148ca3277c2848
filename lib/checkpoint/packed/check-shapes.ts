import type { BtsError } from '../../base/errors.js';
import type { TensorEntry } from '../safetensors.js';
import { quote } from '../safetensors-header.js';
import type { PackedMatrix } from './matrix.js';
import type { Scheme } from './scheme.js';

/** Makes the error about a module to throw. */
export type Complain = (reason: string) => BtsError;

export const FLOATS = ['F16', 'BF16', 'F32'];

/** Throws what `fail` makes unless a tensor has one of the types and shapes: before it is read, for what it says may be larger than memory. */
export function expectTensor(
  entry: TensorEntry,
  dtypes: readonly string[],
  shapes: readonly (readonly number[])[],
  fail: Complain,
): void {
  if (!dtypes.includes(entry.dtype)) throw fail(`has ${quote(entry.name)} in ${entry.dtype}, not ${dtypes.join(', ')}`);
  if (shapes.some((shape) => `${shape}` === `${entry.shape}`)) return;
  throw fail(`has ${quote(entry.name)} of [${entry.shape}], not [${shapes[0]}]`);
}

/** Throws what `fail` makes unless the tensors of a matrix [O, I] have the types and shapes that their format gives them. */
export function checkShapes(
  { layout, bits, groupSize, perTensor }: Scheme,
  [O, I]: readonly [number, number],
  { codes, scales, zeros }: Pick<PackedMatrix, 'codes' | 'scales' | 'zeros'>,
  fail: Complain,
): void {
  if (groupSize !== null && I % groupSize !== 0)
    throw fail(`has ${I} inputs, which groups of ${groupSize} do not divide`);
  const groups = groupSize === null ? 1 : I / groupSize;
  const inWord = 32 / bits;
  const expect = (entry: TensorEntry, dtypes: readonly string[], ...shapes: (readonly number[])[]) =>
    expectTensor(entry, dtypes, shapes, fail);
  const words = (count: number, of: string) => {
    if (count % inWord === 0) return count / inWord;
    throw fail(`has ${count} ${of}, which do not make whole words of ${inWord}`);
  };
  if (layout === 'gptq' || layout === 'awq') {
    expect(codes, ['I32'], layout === 'gptq' ? [words(I, 'inputs'), O] : [I, words(O, 'outputs')]);
    expect(scales, FLOATS, [groups, O]);
    expect(zeros!, ['I32'], [groups, words(O, 'outputs')]);
    return;
  }
  if (layout === 'packed') expect(codes, ['I32'], [O, Math.ceil(I / inWord)]);
  else {
    expect(codes, ['I8'], [O, I]);
    if ((O * I) % 4 !== 0) throw fail(`has ${O * I} numbers, which do not make whole words of 4`);
  }
  const ofGroups = perTensor ? [[1], [], [1, 1]] : groups === 1 ? [[O, 1], [O]] : [[O, groups]];
  expect(scales, FLOATS, ...ofGroups);
  if (zeros?.dtype === 'I32' && !perTensor) expect(zeros, ['I32'], [Math.ceil(O / inWord), groups]);
  else if (zeros) expect(zeros, ['I8'], ...ofGroups);
}
