/** Members that others quantized. */
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { isPacked, type PackedMatrix, partsOf, type Stored } from '../../checkpoint/packed/matrix.js';
import { bytesOf, type FloatType, isQuantized, type QuantizedType } from '../../tensor/addon.js';
import { heldType } from './load-packed.js';

/** What matrices in codes are held in, by name. */
export type PackedTypes = Readonly<Record<string, QuantizedType | FloatType>>;

/** Of a checkpoint's tensors; null where none is in codes. */
export function packedTypes(tensors: ReadonlyMap<string, Stored>): PackedTypes | null {
  const packed = [...tensors.values()].filter(isPacked);
  return packed.length > 0 ? Object.fromEntries(packed.map((matrix) => [matrix.name, heldType(matrix)])) : null;
}

/** "int4", or "12 int4, 2 f16". */
export function describePacked(types: PackedTypes): string {
  const counts = new Map<string, number>();
  for (const type of Object.values(types)) counts.set(type, (counts.get(type) ?? 0) + 1);
  const [first] = counts.keys();
  return counts.size === 1 ? first! : [...counts].map(([type, count]) => `${count} ${type}`).join(', ');
}

/** What its owner should know of a member whose codes cannot be held as codes. */
export function widenedMessage(member: string, { tensors }: DenseCheckpoint): string | undefined {
  const packed = [...tensors.values()].filter(isPacked);
  const wide = packed.filter((matrix) => !isQuantized(heldType(matrix)));
  if (wide.length === 0) return undefined;
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const sum = (sizes: readonly number[]) => sizes.reduce((total, size) => total + size, 0);
  const taken = sum(wide.map((matrix) => bytesOf(heldType(matrix), matrix.shape)));
  const inFiles = sum(wide.flatMap((matrix) => partsOf(matrix).map((part) => part.bytes)));
  return (
    `${wide.length} of ${packed.length} matrices in codes of ${member} are widened to ${heldType(wide[0]!)}, in which they take ` +
    `${mebibytes(taken)} in place of ${mebibytes(inFiles)}: ${why(wide[0]!)}. --members int8 or int4 holds them in codes of ours, which ` +
    'are not exactly the same.'
  );
}

function why({ groups, scheme: { bits, groupSize, symmetric }, scales }: PackedMatrix): string {
  if (groups) return 'their groups are out of order (desc_act)';
  if (bits === 8 && !symmetric) return 'they have 8 bits, and zeros that are not the middle';
  if (bits === 4 && scales.dtype === 'F32') return 'they have 4 bits, and scales in f32';
  return `they have groups of ${groupSize}, and ours of ${bits} bits have ${bits === 4 ? 32 : 128}`;
}
