import { isUtf8 } from 'node:buffer';
import { type FileHandle, open } from 'node:fs/promises';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetScan,
  parquetSchema,
  type SchemaTree,
} from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { type Compressors, compressors, decompressZstd } from 'hyparquet-compressors';
import { BtsError, fileError } from '../base/errors.js';
import { describeLfsPointer } from '../base/json.js';
import type { Dict } from '../python/values.js';
import { pythonRow } from './parquet-values.js';

/** A row group's column is decoded as a whole; text files are written with a few MB to a few hundred. */
const MAX_COLUMN_BYTES = 2 ** 30;

/**
 * They stop at the size that the page states: left to themselves, a few bytes could unfold into any size. A page without a
 * value, as all of one may be null, is none to decompress: some writers leave out even what stands for nothing.
 */
const CODECS: Compressors = Object.fromEntries(
  Object.entries({
    ...compressors,
    GZIP: (input: Uint8Array, length: number) => gunzipSync(input, { maxOutputLength: length }),
    BROTLI: (input: Uint8Array, length: number) => brotliDecompressSync(input, { maxOutputLength: length }),
    ZSTD: (input: Uint8Array, length: number) => decompressZstd(input, new Uint8Array(length)),
  }).map(([name, decompress]) => [
    name,
    (input: Uint8Array, length: number) => (length === 0 ? new Uint8Array() : decompress(input, length)),
  ]),
);
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
    await checkPages(file, metadata, column);
    // Strings stay bytes until their row is reached: that halves the memory, and a bad one can be named.
    const asBytes = (bytes: Uint8Array) => bytes;
    const parsers = { stringFromBytes: asBytes, jsonFromBytes: asBytes };
    const scan = await parquetScan({ file, metadata, columns: [column], compressors: CODECS, parsers });
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
    const rows = await parquetReadObjects({ file, metadata, compressors: CODECS });
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
    slice(start, end = byteLength) {
      if (!(start >= 0 && start <= end && end <= byteLength && end - start <= MAX_COLUMN_BYTES)) {
        throw new Error(`it refers to bytes ${start} to ${end} of ${byteLength}`);
      }
      const bytes = readBytes(handle, start, end);
      // hyparquet reads ahead and, where it finds the file malformed first, never looks at the outcome.
      bytes.catch(() => {});
      return bytes;
    },
  };
}

async function readBytes(handle: FileHandle, start: number, end: number): Promise<ArrayBuffer> {
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

/** hyparquet trusts the sizes that a file states, and on wrong ones may loop for ever or use up the memory. */
async function checkPages(file: AsyncBuffer, metadata: FileMetaData, column: string): Promise<void> {
  for (const group of metadata.row_groups) {
    const meta = group.columns.find((chunk) => chunk.meta_data?.path_in_schema[0] === column)?.meta_data;
    if (!meta) throw new Error(`a row group lacks column '${column}'`);
    const size = Number(meta.total_uncompressed_size);
    if (!(size >= 0 && size <= MAX_COLUMN_BYTES)) {
      throw new Error(`a row group holds ${size} bytes of text where ${MAX_COLUMN_BYTES} can be; write smaller ones`);
    }
    const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const reader = {
      view: new DataView(await file.slice(start, start + Number(meta.total_compressed_size))),
      offset: 0,
    };
    let values = 0;
    while (reader.offset < reader.view.byteLength) {
      const page = parquetHeader(reader);
      const { num_values: count = 0 } = page.data_page_header ?? page.data_page_header_v2 ?? {};
      const dictionary = page.dictionary_page_header?.num_values ?? 0;
      values += count;
      reader.offset += page.compressed_page_size;
      const fits = page.compressed_page_size >= 0 && reader.offset <= reader.view.byteLength;
      const unfolds = page.uncompressed_page_size >= 0 && page.uncompressed_page_size <= size;
      // Every entry of a dictionary takes four bytes at least.
      if (!fits || !unfolds || !(count >= 0) || !(dictionary >= 0 && dictionary * 4 <= page.uncompressed_page_size)) {
        throw new Error('a page states sizes that cannot be');
      }
    }
    if (values !== Number(group.num_rows))
      throw new Error(`a row group of ${group.num_rows} rows has ${values} values`);
  }
}
