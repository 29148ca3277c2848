/**
 * What hyparquet relies on in the pages of a file: on sizes and runs that are not so it loops for ever, or uses up the memory.
 * They are checked before it sees them.
 */
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { type AsyncBuffer, type ColumnMetaData, type FileMetaData, parquetSchema, type SchemaTree } from 'hyparquet';
import { parquetHeader } from 'hyparquet/src/column.js';
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getTreePath } from 'hyparquet/src/schema.js';
import { type Compressors, compressors, decompressZstd } from 'hyparquet-compressors';
import { bitWidth, expectRuns } from './parquet-runs.js';

/** A row group's column is decoded as a whole; text files are written with a few MB to a few hundred. */
export const MAX_COLUMN_BYTES = 2 ** 30;
/** Of a column in a row group, nulls included, which take no bytes; writers make groups of a million rows. */
const MAX_VALUES = 2 ** 25;

type Decompress = (input: Uint8Array, length: number) => Uint8Array;
type Header = ReturnType<typeof parquetHeader>;

/**
 * They stop at the size that the page states: left to themselves, a few bytes could unfold into any size. A page without a
 * value, as all of one may be null, is none to decompress: some writers leave out even what stands for nothing.
 */
const CODECS: Record<string, Decompress | undefined> = {
  ...(compressors as Record<string, Decompress>),
  UNCOMPRESSED: (input) => input,
  GZIP: (input, length) => gunzipSync(input, { maxOutputLength: length }),
  BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: length }),
  ZSTD: (input, length) => decompressZstd(input, new Uint8Array(length)),
};

/**
 * Checks the pages of one column, or of all. Gives each column of a row group a codec of its own, which looks at what it
 * decompresses: hyparquet is to read `metadata` with these. Throws what is wrong.
 */
export async function checkPages(file: AsyncBuffer, metadata: FileMetaData, column?: string): Promise<Compressors> {
  const schema = parquetSchema(metadata);
  const codecs: Record<string, Decompress> = {};
  let total = 0;
  for (const group of metadata.row_groups) {
    const chunks = group.columns.filter((chunk) => !column || chunk.meta_data?.path_in_schema[0] === column);
    if (chunks.length === 0) throw new Error(column ? `a row group lacks column '${column}'` : 'a row group is empty');
    for (const { meta_data: meta } of chunks) {
      if (!meta) throw new Error('a column is not described');
      const path = getTreePath(schema, meta.path_in_schema);
      const { values, pages } = await readPages(file, meta, path);
      const rows = Number(group.num_rows);
      const isFlat = path.length === 2 && getMaxRepetitionLevel(path) === 0;
      if (isFlat ? values !== rows : values < rows) throw new Error(`a row group of ${rows} rows has ${values} values`);
      total = column ? values : total + values;
      if (total > MAX_VALUES)
        throw new Error(`it holds ${total} values where ${MAX_VALUES} can be; write smaller groups`);
      const name = `${meta.codec} ${Object.keys(codecs).length}`;
      codecs[name] = checkedCodec(meta.codec, pages);
      meta.codec = name as typeof meta.codec;
    }
  }
  return codecs as Compressors;
}

type Check = (page: Uint8Array) => void;

function checkedCodec(codec: string, pages: Check[]): Decompress {
  const decompress = CODECS[codec];
  if (!decompress) throw new Error(`the compression ${codec} is not known`);
  let next = 0;
  return (input, length) => {
    const page = length === 0 ? new Uint8Array() : decompress(input, length);
    pages[next++]!(page);
    return page;
  };
}

/** How many values the pages of a column hold, and a check for each page that is decompressed, in their order. */
async function readPages(file: AsyncBuffer, meta: ColumnMetaData, path: SchemaTree[]) {
  const size = Number(meta.total_uncompressed_size);
  if (!(size >= 0 && size <= MAX_COLUMN_BYTES)) {
    throw new Error(`a row group holds ${size} bytes of a column where ${MAX_COLUMN_BYTES} can be; write smaller ones`);
  }
  const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
  const bytes = new Uint8Array(await file.slice(start, start + Number(meta.total_compressed_size)));
  const reader = { view: new DataView(bytes.buffer), offset: 0 };
  const pages: Check[] = [];
  let values = 0;
  while (reader.offset < bytes.length) {
    const header = parquetHeader(reader);
    const { compressed_page_size: stored, uncompressed_page_size: unfolded } = header;
    const end = reader.offset + stored;
    const { num_values: count = 0 } = header.data_page_header ?? header.data_page_header_v2 ?? {};
    const entries = header.dictionary_page_header?.num_values ?? 0;
    const fits = isCount(stored, bytes.length) && end <= bytes.length && isCount(unfolded, size);
    // Eight entries of a dictionary may share a byte.
    if (!fits || !isCount(count, MAX_VALUES) || !isCount(entries, 8 * unfolded)) {
      throw new Error('a page states sizes that cannot be');
    }
    pages.push(...checksOf(header, path, bytes.subarray(reader.offset, end)));
    values += count;
    reader.offset = end;
  }
  return { values, pages };
}

const isCount = (value: unknown, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most;

/** The checks of a page that will be decompressed: none where it is as it stands, which is checked at once. */
function checksOf(
  { type, data_page_header: one, data_page_header_v2: two }: Header,
  path: SchemaTree[],
  page: Uint8Array,
) {
  const levels = [getMaxRepetitionLevel(path), getMaxDefinitionLevel(path)].filter((most) => most > 0).map(bitWidth);
  const isBoolean = path.at(-1)!.element.type === 'BOOLEAN';
  if (type === 'DICTIONARY_PAGE') return [() => {}];
  if (type === 'DATA_PAGE' && one) {
    return [
      (content: Uint8Array) => {
        let at = 0;
        for (const width of levels) at = expectRuns(content, at, width, one.num_values);
        expectValues(content.subarray(at), one.encoding, isBoolean, one.num_values);
      },
    ];
  }
  if (type !== 'DATA_PAGE_V2' || !two) throw new Error(`a page of the type ${type} is not known`);
  const { repetition_levels_byte_length: repetitions, definition_levels_byte_length: definitions } = two;
  const areCounts = isCount(repetitions, page.length) && isCount(definitions, page.length - repetitions);
  if (!areCounts || !isCount(two.num_nulls, two.num_values)) throw new Error('a page states sizes that cannot be');
  const [repetitionLevel, definitionLevel] = [getMaxRepetitionLevel(path), getMaxDefinitionLevel(path)];
  if (repetitionLevel) expectRuns(page, 0, bitWidth(repetitionLevel), two.num_values, repetitions);
  if (definitionLevel) expectRuns(page, repetitions, bitWidth(definitionLevel), two.num_values, definitions);
  const check = (content: Uint8Array) => expectValues(content, two.encoding, isBoolean, two.num_values);
  if (two.is_compressed !== false) return [check];
  check(page.subarray(repetitions + definitions));
  return [];
}

/** Values that are runs: places in a dictionary behind a byte with their width, or booleans. */
function expectValues(content: Uint8Array, encoding: string, isBoolean: boolean, count: number): void {
  if (encoding === 'RLE' || (isBoolean && encoding.endsWith('DICTIONARY'))) expectRuns(content, 0, 1, count);
  else if (encoding.endsWith('DICTIONARY')) expectRuns(content, 1, content[0] ?? 0, count, content.length - 1);
}
