import { setImmediate } from 'node:timers/promises';
import { BtsError } from '../base/errors.js';
import { isWellFormed, JsonScanner } from '../base/json-scanner.js';

/** The format's limit on its header: what a hostile file can make a reader allocate. */
export const MAX_HEADER_BYTES = 100_000_000;

/** What PyTorch can represent. */
const MAX_DIMENSIONS = 64;

/** A header at the size limit holds millions of entries; the event loop gets a turn after so many. */
const YIELD_EVERY = 4096;

/** Every element type of the format and its width in bits, in the order of the reference: rising alignment. */
export const DTYPE_BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const;

export type Dtype = keyof typeof DTYPE_BITS;

/** One tensor of a header. `begin` and `end` count bytes from the end of the header. */
export interface HeaderTensor {
  name: string;
  dtype: Dtype;
  shape: number[];
  begin: number;
  end: number;
}

export interface Header {
  metadata: Map<string, string>;
  /** In the order of their data. */
  tensors: HeaderTensor[];
}

/** The size of a tensor's data; undefined if it is no whole number of bytes or too large to be real. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number | undefined {
  let bits: number = DTYPE_BITS[dtype];
  for (const size of shape) {
    bits *= size;
    if (!Number.isSafeInteger(bits)) return undefined;
  }
  return bits % 8 === 0 ? bits / 8 : undefined;
}

/**
 * Parses a header and holds it against the `dataBytes` bytes of data that follow it in the file: every byte must belong
 * to exactly one tensor. As strict as the reference (huggingface/safetensors, tensor.rs), and stricter where that takes
 * the last of two equal names, ignores unknown fields, takes null for metadata or lets white space precede the brace.
 *
 * @param source names the file in errors. @throws BAD_SAFETENSORS
 */
export async function parseHeader(text: string, dataBytes: number, source: string): Promise<Header> {
  const scan = new JsonScanner(text, (reason) => badSafetensors(source, `malformed header: ${reason}`));
  if (text[0] !== '{') throw badSafetensors(source, "the header does not begin with '{'");
  let metadata: Map<string, string> | undefined;
  const tensors = new Map<string, HeaderTensor>();

  scan.expect('{');
  if (!scan.take('}')) {
    do {
      const name = scan.key();
      if (tensors.has(name) || (name === '__metadata__' && metadata)) throw scan.fail(`${quote(name)} appears twice`);
      if (name === '__metadata__') metadata = await parseMetadata(scan);
      else tensors.set(name, parseTensor(scan, name));
      if (tensors.size % YIELD_EVERY === 0) await setImmediate();
    } while (scan.more('}'));
  }
  scan.end();
  return { metadata: metadata ?? new Map(), tensors: checkLayout([...tensors.values()], dataBytes, source) };
}

async function parseMetadata(scan: JsonScanner): Promise<Map<string, string>> {
  const metadata = new Map<string, string>();
  scan.expect('{');
  if (scan.take('}')) return metadata;
  do {
    const key = scan.key();
    if (metadata.has(key)) throw scan.fail(`metadata ${quote(key)} appears twice`);
    metadata.set(key, scan.string());
    if (metadata.size % YIELD_EVERY === 0) await setImmediate();
  } while (scan.more('}'));
  return metadata;
}

function parseTensor(scan: JsonScanner, name: string): HeaderTensor {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scan.expect('{');
  do {
    const field = scan.key();
    if (field === 'dtype' && dtype === undefined) dtype = scan.string();
    else if (field === 'shape' && shape === undefined) shape = scan.integers(MAX_DIMENSIONS);
    else if (field === 'data_offsets' && offsets === undefined) offsets = scan.integers(2);
    else throw scan.fail(`tensor ${quote(name)} has an unknown or second field ${quote(field)}`);
  } while (scan.more('}'));

  if (dtype === undefined || shape === undefined || offsets === undefined) {
    throw scan.fail(`tensor ${quote(name)} lacks dtype, shape or data_offsets`);
  }
  if (!isDtype(dtype)) throw scan.fail(`tensor ${quote(name)} has the unknown dtype ${quote(dtype)}`);
  const [begin, end] = offsets;
  if (begin === undefined || end === undefined) {
    throw scan.fail(`tensor ${quote(name)} has ${offsets.length} data_offsets, expected [begin, end]`);
  }
  return { name, dtype, shape, begin, end };
}

function isDtype(text: string): text is Dtype {
  return Object.hasOwn(DTYPE_BITS, text);
}

function checkLayout(tensors: HeaderTensor[], dataBytes: number, source: string): HeaderTensor[] {
  tensors.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let position = 0;
  for (const { name, dtype, shape, begin, end } of tensors) {
    const bytes = tensorBytes(dtype, shape);
    if (bytes === undefined) {
      const claim = quote(`${dtype} [${shape}]`);
      throw badSafetensors(source, `tensor ${quote(name)} of ${claim} is too large or no whole number of bytes`);
    }
    if (begin !== position) {
      const fault = begin > position ? 'leaves a hole after' : 'overlaps';
      throw badSafetensors(source, `tensor ${quote(name)} at [${begin}, ${end}] ${fault} what ends at ${position}`);
    }
    if (end - begin !== bytes) {
      const claim = quote(`${dtype} [${shape}]`);
      throw badSafetensors(source, `tensor ${quote(name)} of ${claim} needs ${bytes} bytes, not [${begin}, ${end}]`);
    }
    position = end;
  }
  if (position !== dataBytes) {
    const fault =
      position > dataBytes ? 'The file is cut short: copy or download it again' : 'Bytes trail the last one';
    throw badSafetensors(source, `its tensors end at byte ${position} of ${dataBytes} bytes of data. ${fault}`);
  }
  return tensors;
}

/** The header's JSON as the reference writes it, padded with spaces to a multiple of 8 bytes. */
export function formatHeader({ metadata, tensors }: Header): Buffer {
  // Joined by hand: an object would reorder names like "0" and swallow "__proto__".
  const fields = tensors.map(({ name, dtype, shape, begin, end }) => {
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  if (metadata.size > 0) {
    const pairs = [...metadata].map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    fields.unshift(`"__metadata__":{${pairs.join(',')}}`);
  }
  const json = Buffer.from(`{${fields.join(',')}}`);
  return Buffer.concat([json, Buffer.alloc(-json.length & 7, ' ')]);
}

/** Whether a tensor may be called `name`. */
export function isTensorName(name: string): boolean {
  return name !== '__metadata__' && isWellFormed(name);
}

/** For error messages: what a hostile file calls its tensors may be long and may hold control characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}

export function badSafetensors(source: string, reason: string): BtsError {
  return new BtsError('BAD_SAFETENSORS', `'${source}' is not a valid safetensors file: ${reason}.`);
}
