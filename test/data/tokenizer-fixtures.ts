import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BYTE_CHARACTERS } from '../../lib/data/tokenizer/byte-level.js';

export interface Parts {
  model?: object;
  added?: { content: string; [option: string]: unknown }[];
  [part: string]: unknown;
}

export function file(tokens: string[], merges: [string, string][], { model, added = [], ...parts }: Parts) {
  const vocab = [...new Set([...tokens, ...merges.map((pair) => pair.join(''))])];
  const all = [...new Set([...vocab, ...added.map(({ content }) => content)])];
  const idOf = (content: string) => all.indexOf(content);
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
  return {
    version: '1.0',
    added_tokens: added.map(({ content, ...token }) => ({ id: idOf(content), content, ...flags, ...token })),
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    ...parts,
    model: { type: 'BPE', vocab: Object.fromEntries(vocab.map((token, id) => [token, id])), merges, ...model },
  };
}

export const bytePretokenizer = (options = {}) => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: true,
  ...options,
});
export const sequence = (...pretokenizers: object[]) => ({ type: 'Sequence', pretokenizers });
export const plainBytes = bytePretokenizer({ use_regex: false });
export const split = (Regex: string, behavior = 'Isolated', invert = false) => ({
  type: 'Split',
  pattern: { Regex },
  behavior,
  invert,
});
export const metaspace = (prepend_scheme: string, split: boolean) => ({
  type: 'Metaspace',
  replacement: '▁',
  prepend_scheme,
  split,
});

export const pairs = (merges: string) => merges.split(' ').map((pair) => pair.split('+') as [string, string]);

export function byteLevel(parts: Parts = {}) {
  const merges = pairs("t+h th+e Ġ+the '+s Å+¿ '+Å¿ a+b b+c ab+c 1+2 a+a aa+aa");
  return file([...BYTE_CHARACTERS], merges, { pre_tokenizer: bytePretokenizer(), ...parts });
}

export function sentencePiece({ model, ...parts }: Parts = {}) {
  const letters = [...'defghijklmnopqrstuvw'];
  const tokens = ['<unk>', '▁', 'a', 'b', 'c', '<0xC3>', '<0xA9>', '\n', ...letters];
  const decoders = [
    { type: 'Replace', pattern: { String: '▁' }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
  ];
  return file(tokens, pairs('a+b ▁+ab b+c ▁+▁ ▁▁+▁▁'), {
    decoder: { type: 'Sequence', decoders },
    ...parts,
    model: { unk_token: '<unk>', fuse_unk: true, byte_fallback: true, ...model },
  });
}

export const replaceSpaces = { type: 'Replace', pattern: { String: ' ' }, content: '▁' };
export const llamaNormalizer = { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '▁' }, replaceSpaces] };

/** Writes tokenizer.json and others, by name without '.json', into a new folder within `parent`, and returns it. */
export async function writeTokenizer(
  parent: string,
  json: unknown,
  files: Record<string, unknown> = {},
): Promise<string> {
  const path = await mkdtemp(join(parent, 'tokenizer-'));
  await writeFile(join(path, 'tokenizer.json'), typeof json === 'string' ? json : JSON.stringify(json));
  for (const [name, content] of Object.entries(files)) {
    await writeFile(join(path, `${name}.json`), JSON.stringify(content));
  }
  return path;
}
