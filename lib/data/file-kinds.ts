import { extname } from 'node:path';
import { BtsError } from '../base/errors.js';

interface FileKind {
  name: string;
  /** What its bytes start with, as hexadecimal digits. */
  start: RegExp;
  advice: string;
}

const ARCHIVE = 'unpack it, and name the files or the folder';

const KINDS: readonly FileKind[] = [
  { name: 'compressed with xz', start: /^fd377a585a00/, advice: 'decompress it first: xz -d' },
  { name: 'compressed with bzip2', start: /^425a683.(314159|177245)/, advice: 'decompress it first: bzip2 -d' },
  { name: 'compressed with lz4', start: /^04224d18/, advice: 'decompress it first: lz4 -d' },
  { name: 'compressed twice', start: /^(1f8b08|28b52ffd)/, advice: 'decompress it once: gzip -d or zstd -d' },
  { name: 'a zip archive', start: /^504b0304/, advice: ARCHIVE },
  { name: 'a 7z archive', start: /^377abcaf271c/, advice: ARCHIVE },
  { name: 'a tar archive', start: /^.{514}7573746172/, advice: ARCHIVE },
  { name: 'a Parquet file', start: /^5041523115/, advice: 'let its name end in .parquet' },
  { name: 'an Arrow file', start: /^4152524f57310000/, advice: 'write it as .parquet or .jsonl' },
  { name: 'a PDF', start: /^255044462d/, advice: 'extract its text first: pdftotext' },
];
const START_BYTES = 262;

/** Compressions that cannot be told by how a file starts: by how its name ends. */
const TOOLS = new Map([
  ['.br', 'brotli -d'],
  ['.lzma', 'xz -d'],
  ['.lz', 'lzip -d'],
  ['.lzo', 'lzop -d'],
  ['.z', 'gzip -d'],
]);

/** @throws BAD_DATA where a file is known, by its first bytes or its name, to be none of text, and says what to do */
export function refuseOtherKinds(start: Buffer, path: string): void {
  const digits = start.toString('hex', 0, START_BYTES);
  const kind = KINDS.find((kind) => kind.start.test(digits));
  if (kind) throw new BtsError('BAD_DATA', `'${path}' is ${kind.name}. To read its text, ${kind.advice}.`);
  const tool = TOOLS.get(extname(path).toLowerCase());
  if (tool) throw new BtsError('BAD_DATA', `'${path}' is compressed. To read its text, decompress it first: ${tool}.`);
}
