import { type FileHandle, open, unlink } from 'node:fs/promises';
import { BtsError, fileError } from '../base/errors.js';
import {
  DTYPE_BITS,
  type Dtype,
  formatHeader,
  type HeaderTensor,
  isTensorName,
  MAX_HEADER_BYTES,
  quote,
  tensorBytes,
} from './safetensors-header.js';

/** A tensor to be written. `data` is called once, when its turn comes, and gives its little-endian, row-major bytes. */
export interface TensorSource {
  name: string;
  dtype: Dtype;
  shape: readonly number[];
  data: () => Promise<Uint8Array>;
}

const ALIGNMENT_ORDER = Object.keys(DTYPE_BITS);

/**
 * Writes a new safetensors file, one tensor in memory at a time, and flushes it to the disk. The bytes are those that the
 * reference writes: tensors by falling alignment, then by name. A file that cannot be finished is removed.
 *
 * @throws BAD_OPTION if a tensor cannot be written as described; FILE_IO if `path` exists already or the disk is full
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorSource>,
  metadata: Record<string, string> = { format: 'pt' },
): Promise<void> {
  const { ordered, header } = plan(tensors, metadata);
  try {
    // 'wx': what is there already is never truncated, by mistake or under another process that has it mapped.
    const file = await open(path, 'wx');
    try {
      await writeContent(file, header, ordered);
    } catch (error) {
      // Should this fail as well, the first error is the one to report.
      await unlink(path).catch(() => {});
      throw error;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(error, path, 'writing');
  }
}

interface Planned extends HeaderTensor {
  data: () => Promise<Uint8Array>;
}

/** Tensors in the order in which a file has them, and asks for their bytes: by falling alignment, then by name. */
export function inFileOrder<Tensor extends Pick<TensorSource, 'name' | 'dtype'>>(tensors: Iterable<Tensor>): Tensor[] {
  return [...tensors].sort(
    (a, b) => ALIGNMENT_ORDER.indexOf(b.dtype) - ALIGNMENT_ORDER.indexOf(a.dtype) || compareUtf8(a.name, b.name),
  );
}

function plan(tensors: Iterable<TensorSource>, metadata: Record<string, string>) {
  const sorted = inFileOrder(tensors);
  const names = new Set<string>();
  const ordered: Planned[] = [];
  let position = 0;
  for (const source of sorted) {
    const { name, dtype, data } = source;
    if (!isTensorName(name) || names.has(name)) {
      throw new BtsError('BAD_OPTION', `no tensor can be called ${quote(name)}: it is reserved, malformed or taken.`);
    }
    names.add(name);
    const begin = position;
    position += sourceBytes(source);
    ordered.push({ name, dtype, shape: [...source.shape], begin, end: position, data });
  }
  const header = formatHeader({ metadata: new Map(Object.entries(metadata)), tensors: ordered });
  if (header.length > MAX_HEADER_BYTES) {
    throw new BtsError('BAD_OPTION', `the header would have ${header.length} bytes, over ${MAX_HEADER_BYTES}.`);
  }
  return { ordered, header };
}

/** The size of a tensor's data. @throws BAD_OPTION if dtype and shape do not describe a tensor */
export function sourceBytes({ name, dtype, shape }: TensorSource): number {
  const bytes = shape.every((size) => Number.isSafeInteger(size) && size >= 0) ? tensorBytes(dtype, shape) : undefined;
  if (bytes === undefined) throw new BtsError('BAD_OPTION', `tensor ${quote(name)} cannot be ${dtype} [${shape}].`);
  return bytes;
}

async function writeContent(file: FileHandle, header: Buffer, tensors: Planned[]): Promise<void> {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  await file.writeFile(length);
  await file.writeFile(header);
  for (const { name, begin, end, data } of tensors) {
    const bytes = await data();
    if (bytes.byteLength !== end - begin) {
      throw new BtsError('BAD_OPTION', `tensor ${quote(name)} needs ${end - begin} bytes, got ${bytes.byteLength}.`);
    }
    await file.writeFile(bytes);
  }
  await file.sync();
}

/** The reference orders names by their UTF-8 bytes; JavaScript's `<` goes by UTF-16. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
