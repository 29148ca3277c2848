import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetScan,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { BtsError, fileError } from '../base/errors.js';
import { describeLfsPointer } from '../base/json.js';
import type { Dict } from '../python/values.js';
import { checkPages, MAX_COLUMN_BYTES } from './parquet-pages.js';
import { pythonRow } from './parquet-values.js';

/** As they are noted beside the bytes, in the old way or the new; older writers note nothing. */
const TEXT_TYPES: ReadonlySet<string | undefined> = new Set([undefined, 'UTF8', 'STRING', 'ENUM', 'JSON']);
const decoder = new TextDecoder();

/**
 * The values of a string column, one row group in memory at a time. Nulls come as empty strings.
 *
 * @throws BAD_DATA where the file is malformed, lacks the column, or the column holds something else than UTF-8 text;
 *   FILE_NOT_FOUND, FILE_IO
 */
export async function* readParquetColumn(path: string, column: string): AsyncGenerator<string> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const file = fileBuffer(handle, (await handle.stat()).size);
    const metadata = await readMetadata(file, path);
    checkColumn(metadata, column, path);
    const compressors = await checkPages(file, metadata, column);
    // Strings stay bytes until their row is reached: that halves the memory, and a bad one can be named.
    const asBytes = (bytes: Uint8Array) => bytes;
    const parsers = { stringFromBytes: asBytes, jsonFromBytes: asBytes };
    const scan = await parquetScan({ file, metadata, columns: [column], compressors, parsers });
    let row = 0;
    for (const range of scan.ranges) {
      const values = await scan.readColumn({ column, ...range });
      if (values.length !== range.rowEnd - range.rowStart) {
        throw new Error(`a row group of ${range.rowEnd - range.rowStart} rows holds ${values.length} values`);
      }
      for (const value of values) {
        row++;
        if (value !== null && !(value instanceof Uint8Array && isUtf8(value))) {
          throw new BtsError('BAD_DATA', `${path}: row ${row} of column '${column}' is not valid UTF-8 text.`);
        }
        yield value === null ? '' : decoder.decode(value);
      }
    }
  } catch (error) {
    throw parquetError(error, path);
  } finally {
    await handle?.close();
  }
}

/** All rows of a small file, whatever its columns hold. @throws BAD_DATA, FILE_NOT_FOUND, FILE_IO */
export async function readParquetRows(path: string): Promise<Dict[]> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    const file = fileBuffer(handle, (await handle.stat()).size);
    const metadata = await readMetadata(file, path);
    const compressors = await checkPages(file, metadata);
    const rows = await parquetReadObjects({ file, metadata, compressors });
    const schema = parquetSchema(metadata);
    return rows.map((row) => pythonRow(row, schema));
  } catch (error) {
    throw parquetError(error, path);
  } finally {
    await handle?.close();
  }
}

/** @throws BAD_DATA where there is a Git LFS pointer in place of the file */
async function readMetadata(file: AsyncBuffer, path: string): Promise<FileMetaData> {
  const pointer = describeLfsPointer(new Uint8Array(await file.slice(0, Math.min(file.byteLength, 1024))));
  if (pointer) throw new BtsError('BAD_DATA', `'${path}' ${pointer}.`);
  return await parquetMetadataAsync(file, { geoparquet: false });
}

function parquetError(error: unknown, path: string): unknown {
  if (error instanceof BtsError) return error;
  // Errors of the system carry the call that failed; what hyparquet throws on malformed files does not.
  if ((error as NodeJS.ErrnoException).syscall) return fileError(error, path, 'Reading Parquet');
  const reason = error instanceof Error ? error.message : String(error);
  return new BtsError('BAD_DATA', `${path} is not a Parquet file that can be read: ${reason}.`, { cause: error });
}

function fileBuffer(handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    slice: (start, end = byteLength) => unattended(readBytes(handle, start, end, byteLength)),
  };
}

/**
 * A promise whose failure, and that of all that `then` makes of it, ends no process. hyparquet begins with columns and, where it
 * finds the file malformed meanwhile, never looks at the outcome.
 */
function unattended<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  const then = (...then: []) => unattended(Promise.prototype.then.apply(promise, then));
  return Object.assign(promise, { then });
}

async function readBytes(handle: FileHandle, start: number, end: number, byteLength: number): Promise<ArrayBuffer> {
  if (!(start >= 0 && start <= end && end <= byteLength && end - start <= MAX_COLUMN_BYTES)) {
    throw new Error(`it refers to bytes ${start} to ${end} of ${byteLength}`);
  }
  const bytes = new Uint8Array(end - start);
  for (let filled = 0; filled < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) throw new Error('it became shorter while it was read');
    filled += bytesRead;
  }
  return bytes.buffer;
}

function checkColumn(metadata: FileMetaData, column: string, path: string): void {
  const fields = parquetSchema(metadata).children;
  const field = fields.find((child) => child.element.name === column);
  if (field && (isText(field) || isNull(field))) return;
  const names = (list: SchemaTree[]) => list.map((child) => `'${child.element.name}'`).join(', ');
  if (!field) {
    throw new BtsError(
      'BAD_DATA',
      `${path} has no column '${column}'; it has ${names(fields)}. Choose one with textField.`,
    );
  }
  const texts = names(fields.filter(isText));
  throw new BtsError(
    'BAD_DATA',
    `${path}: column '${column}' does not hold strings. ${texts ? `Choose one that does with textField: ${texts}` : 'No column does'}.`,
  );
}

/** Whether a column holds a string a row; JSON is one, too. */
function isText({ element, children }: SchemaTree): boolean {
  const { type, repetition_type: repetition, converted_type: converted, logical_type: logical } = element;
  if (children.length > 0 || type !== 'BYTE_ARRAY' || repetition === 'REPEATED') return false;
  return TEXT_TYPES.has(converted) && TEXT_TYPES.has(logical?.type);
}

/** Whether a column has the type of null: pandas writes one of strings so where all are missing. */
function isNull({ element, children }: SchemaTree): boolean {
  return children.length === 0 && element.logical_type?.type === 'NULL';
}
