import { createHash } from 'node:crypto';
import type { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options-check.js';
import { properFraction } from '../base/schema.js';
import { type DocumentOptions, documentOptions, readDocuments } from './documents.js';
import { planSplit, type Split, splitDocument } from './held-out.js';
import { ShardWriter } from './shard-writer.js';
import { findTextFiles } from './text-files.js';
import {
  CACHE_FORMAT,
  type CacheIndex,
  digestFile,
  findCache,
  removeLeftovers,
  type Side,
  shardPath,
  writeCache,
} from './token-cache.js';
import { FileTokens, type TokenBytes, type TokenStream } from './token-stream.js';

/** What preparing data needs of a tokenizer. */
export interface TextTokenizer {
  /** Names the tokenizer's content: text prepared with another hash is prepared anew. */
  readonly hash: string;
  /** V: ids lie below it. */
  readonly vocabularySize: number;
  /** The end-of-text token. */
  readonly eosToken: number | null;
  /**
   * Token ids of a text. With `specials` the tokenizer adds those that it puts around texts.
   *
   * @param text what is encoded
   * @param options with `specials` those tokens are added that stand around texts
   */
  encode(text: string, options?: { specials?: boolean }): number[];
}

export const splitOptions = {
  /** How much of the text is set aside for evaluation, from 0 to less than 1; default 0.05. */
  heldOutFraction: properFraction().default(0.05).meta({
    description: 'How much of each text is set aside to evaluate on',
  }),
};

export const prepareOptions = { ...documentOptions, ...splitOptions };

export interface PrepareOptions extends z.input<z.ZodObject<typeof splitOptions>>, DocumentOptions {
  /** The domain's name. */
  name: string;
  /** Files and folders, see `readDocuments`. */
  paths: readonly string[];
  /** Makes tokens of the text. */
  tokenizer: TextTokenizer;
  /** Where prepared tokens are kept, one folder for each content. */
  cacheFolder: string;
  /** Called a few times per second while text is tokenized. */
  onProgress?: (progress: PrepareProgress) => void;
}

/** With defaults filled in. */
type Checked = PrepareOptions & z.output<z.ZodObject<typeof prepareOptions>>;

const OTHERS: OptionNames<Omit<PrepareOptions, keyof typeof prepareOptions>> = {
  name: true,
  paths: true,
  tokenizer: true,
  cacheFolder: true,
  onProgress: true,
  signal: true,
};

/** How far a domain's text is. */
export interface PrepareProgress {
  /** Its name. */
  domain: string;
  /** Documents that are done. */
  documents: number;
  /** Tokens that came of them. */
  tokens: number;
}

/** A domain's text as tokens. The streams' files are open until `dispose`. */
export interface DomainTokens extends AsyncDisposable {
  /** As it was given. */
  name: string;
  /** What to train on. */
  train: TokenStream;
  /** Empty if and only if `heldOutFraction` is 0. */
  heldOut: TokenStream;
  /** How the text was divided between the two. */
  split: Split;
  /**
   * Names the tokens of both sides, in order: SHA-256 in hexadecimal, which differs as soon as one of them does. It stays
   * the same whatever the domain, its files and the cache are called.
   */
  contentHash: string;
  /** Closes the files. Twice is harmless; reading afterwards throws DISPOSED. */
  dispose(): Promise<void>;
}

const PROGRESS_MS = 250;

/**
 * Tokenizes a domain's text once and keeps the result: the same content, tokenizer and options are read from the cache
 * afterwards, whatever the files' names and dates. Each document is followed by end-of-text. An interrupted or damaged
 * cache is made anew, and processes that prepare the same at once do not disturb each other.
 *
 * @throws BAD_DATA (no text, malformed text, too little to hold some out), BAD_TOKENIZER (no end-of-text token),
 *   BAD_TOKEN, BAD_OPTION, FILE_NOT_FOUND, FILE_IO, ABORTED
 */
export async function prepareTokens(options: PrepareOptions): Promise<DomainTokens> {
  const checked = checkOptions('prepareTokens', prepareOptions, options, OTHERS);
  const { name, paths, tokenizer, cacheFolder, heldOutFraction, signal } = checked;
  if (tokenizer.eosToken === null) {
    throw new BtsError(
      'BAD_TOKENIZER',
      'The tokenizer names no end-of-text token, which has to stand between documents. Set its eos_token.',
    );
  }
  const key = await cacheKey(checked);
  let cache = await findCache(cacheFolder, key, signal);
  if (!cache) {
    await removeLeftovers(cacheFolder);
    cache = await writeCache(cacheFolder, key, async (folder) => {
      const split = await planSplit(readDocuments(paths, checked), heldOutFraction, name);
      const index = await tokenize(checked, split, folder);
      if ((await cacheKey(checked)) !== key) {
        throw new BtsError('BAD_DATA', `The files of domain '${name}' changed while they were read. Prepare it again.`);
      }
      return index;
    });
  }

  const { folder, index } = cache;
  const contentHash = hashContent(index);
  const train = await openSide(folder, 'train', index, contentHash);
  const heldOut = await openSide(folder, 'heldOut', index, contentHash).catch(async (error) => {
    await train.dispose();
    throw error;
  });
  const dispose = async () => {
    await train.dispose();
    await heldOut.dispose();
  };
  return { name, train, heldOut, split: index.split, contentHash, dispose, [Symbol.asyncDispose]: dispose };
}

/** From the hashes of the shards, which were checked when the cache was opened. */
function hashContent({ tokenBytes, train, heldOut }: CacheIndex): string {
  const content = { tokenBytes, train: train.shards, heldOut: heldOut.shards };
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}

/** Names everything that the prepared tokens depend on. */
async function cacheKey(options: Checked): Promise<string> {
  const { paths, tokenizer, documents, textField, heldOutFraction, signal } = options;
  const files: [format: string, sha256: string][] = [];
  for (const { path, format } of await findTextFiles(paths)) files.push([format, await digestFile(path, signal)]);
  const { hash, vocabularySize, eosToken } = tokenizer;
  const parts = [CACHE_FORMAT, hash, vocabularySize, eosToken, documents, textField, heldOutFraction, files];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

async function tokenize(
  { name, paths, tokenizer, onProgress, ...reading }: Checked,
  split: Split,
  folder: string,
): Promise<CacheIndex> {
  const tokenBytes: TokenBytes = tokenizer.vocabularySize <= 2 ** 16 ? 2 : 4;
  const writer = (side: Side) =>
    new ShardWriter((shard) => shardPath(folder, side, shard), tokenizer.vocabularySize, tokenBytes);
  const train = writer('train');
  const heldOut = writer('heldOut');
  let documents = 0;
  const report = () => onProgress?.({ domain: name, documents, tokens: train.tokens + heldOut.tokens });
  try {
    let reported = performance.now();
    for await (const { text } of readDocuments(paths, reading)) {
      for (const part of splitDocument(text, split)) {
        const side = part.heldOut ? heldOut : train;
        await side.writeDocument(tokenizer.encode(part.text, { specials: false }), tokenizer.eosToken!);
      }
      documents++;
      if (performance.now() - reported > PROGRESS_MS) {
        report();
        reported = performance.now();
      }
    }
    await train.finish();
    await heldOut.finish();
    report();
  } finally {
    await train.abandon();
    await heldOut.abandon();
  }
  const side = ({ documents, shards }: ShardWriter) => ({
    documents,
    shards: shards.map(({ tokens, sha256 }) => ({ tokens, sha256 })),
  });
  return { format: CACHE_FORMAT, tokenBytes, split, train: side(train), heldOut: side(heldOut) };
}

/** Each side goes by the content of both, so that a mixture of what is trained on knows what was held out, too. */
function openSide(folder: string, side: Side, index: CacheIndex, contentHash: string): Promise<FileTokens> {
  const { shards, documents } = index[side];
  const files = shards.map(({ tokens }, shard) => ({ path: shardPath(folder, side, shard), tokens }));
  return FileTokens.open(files, index.tokenBytes, documents, contentHash);
}
