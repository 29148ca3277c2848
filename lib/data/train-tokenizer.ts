import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import type { z } from 'zod';
import { type Abortable, BtsError, throwIfAborted } from '../base/errors.js';
import { expectOptions } from '../base/options-check.js';
import { overwrite } from '../base/overwrite.js';
import { integer } from '../base/schema.js';
import { BYTE_CHARACTERS, toByteCharacters } from './tokenizer/byte-level.js';
import { MAX_TOKENS, MergeLearner } from './tokenizer/merge-learner.js';
import { compilePreTokenizers } from './tokenizer/pre-tokenizer.js';
import { detach, wellFormed } from './tokenizer/strings.js';

export const trainTokenizerOptions = {
  /** How many tokens there are to be, special tokens and the 256 bytes included. */
  vocabularySize: integer(257, MAX_TOKENS).meta({
    description: "Train a byte-level tokenizer of this many tokens on the domains' text first",
    argument: 'tokens',
  }),
};

export interface TrainTokenizerOptions extends z.input<z.ZodObject<typeof trainTokenizerOptions>>, Abortable {
  /** They get the first ids; the first of them ends a text. Default: `<|endoftext|>`. */
  specialTokens?: readonly string[];
}

/**
 * Llama 3's split: contractions, words with one preceding character, up to three digits, punctuation, line ends, white
 * space. Llama 3 writes the contractions with `(?i:`, which engines read differently (U+017F as an s or not).
 */
const SPLIT = String.raw`'(?:[sStTmMdD]|[rR][eE]|[vV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`;
const PRE_TOKENIZERS = [
  { type: 'Split', pattern: { Regex: SPLIT }, behavior: 'Isolated', invert: false },
  { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
] as const;

/** The event loop gets a turn when training has kept it for this long. */
const TURN_MS = 10;
const WORDS_PER_CHECK = 1000;

/**
 * Trains a byte-level byte-pair tokenizer. Again and again the most frequent pair of adjacent tokens becomes a token;
 * among equally frequent pairs the one with the lowest left id, then lowest right id, as in Hugging Face's trainer. The
 * result depends only on which texts there are, not on their order. Texts are read one at a time, each in one go, so
 * none should be long; memory holds the distinct words.
 *
 * The vocabulary stays smaller than asked for where the text has no pairs left.
 *
 * @param texts what it learns from
 * @throws BAD_OPTION; BAD_DATA if there is no text; ABORTED; and what `texts` throws
 */
export async function trainTokenizer(
  texts: AsyncIterable<string> | Iterable<string>,
  options: TrainTokenizerOptions,
): Promise<TrainedTokenizer> {
  expectOptions('trainTokenizer', options, { vocabularySize: true, specialTokens: true, signal: true });
  const { vocabularySize, specialTokens = ['<|endoftext|>'], signal } = options;
  const tokens = firstTokens(specialTokens, vocabularySize);
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const merges: [string, string][] = [];
  const turn = turns(signal);

  const learner = new MergeLearner();
  for (const [word, count] of await countWords(texts, turn)) {
    learner.add(
      Array.from(toByteCharacters(word), (character) => ids.get(character)!),
      count,
    );
    if (learner.size % WORDS_PER_CHECK === 0) await turn();
  }
  if (learner.size === 0) throw new BtsError('BAD_DATA', 'There is no text to train a tokenizer on.');

  while (tokens.length < vocabularySize) {
    await turn();
    const pair = learner.mostFrequent();
    if (!pair) break;
    const [left, right] = [tokens[pair.left]!, tokens[pair.right]!];
    const token = left + right;
    const id = ids.get(token) ?? tokens.push(token) - 1;
    ids.set(token, id);
    merges.push([left, right]);
    learner.merge(pair, id);
  }
  return new TrainedTokenizer(tokens, merges, specialTokens);
}

/** What training gave; `save` writes it as files that `Tokenizer.load` and Hugging Face's libraries read. */
export class TrainedTokenizer {
  constructor(
    /** By id: the special tokens, the 256 bytes, then the merged tokens in the order in which they were found. */
    readonly tokens: readonly string[],
    /** Pairs of tokens that become one, in the order in which they were found. */
    readonly merges: readonly (readonly [string, string])[],
    /** Tokens that no text makes; their ids are the first. */
    readonly specialTokens: readonly string[],
  ) {}

  /** V, all tokens. */
  get vocabularySize(): number {
    return this.tokens.length;
  }

  /**
   * Writes tokenizer.json and tokenizer_config.json into `folder`, which is made if need be. The first special token is
   * both begin and end of text, as in GPT-2, but encoding adds neither.
   *
   * @throws FILE_IO
   */
  async save(folder: string): Promise<void> {
    const write = (name: string, json: object) => overwrite(join(folder, name), `${JSON.stringify(json, null, 2)}\n`);
    await write('tokenizer_config.json', this.config());
    await write('tokenizer.json', this.tokenizer());
  }

  private tokenizer(): object {
    const ids = new Map(this.tokens.map((token, id) => [token, id]));
    return {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: this.specialTokens.map((content) => ({
        id: ids.get(content),
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      })),
      normalizer: null,
      pre_tokenizer: { type: 'Sequence', pretokenizers: PRE_TOKENIZERS },
      post_processor: null,
      decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(ids),
        merges: this.merges,
      },
    };
  }

  private config(): object {
    return {
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: this.specialTokens[0],
      eos_token: this.specialTokens[0],
      add_bos_token: false,
      add_eos_token: false,
      clean_up_tokenization_spaces: false,
    };
  }
}

/** The special tokens and the bytes, as far as no special token is one of them. */
function firstTokens(specialTokens: readonly string[], vocabularySize: number): string[] {
  const usable = specialTokens.every((token) => token !== '' && token === wellFormed(token));
  if (specialTokens.length === 0 || !usable || new Set(specialTokens).size < specialTokens.length) {
    throw new BtsError(
      'BAD_OPTION',
      `specialTokens must be one or more different strings, none empty; received ${JSON.stringify(specialTokens)}.`,
    );
  }
  const tokens = [...new Set([...specialTokens, ...[...BYTE_CHARACTERS].sort()])];
  if (Number.isInteger(vocabularySize) && vocabularySize >= tokens.length && vocabularySize <= MAX_TOKENS)
    return tokens;
  throw new BtsError(
    'BAD_OPTION',
    `vocabularySize must be an integer from ${tokens.length} (special tokens and bytes) to ${MAX_TOKENS}; received ${vocabularySize}.`,
  );
}

async function countWords(
  texts: AsyncIterable<string> | Iterable<string>,
  turn: () => Promise<void>,
): Promise<Map<string, number>> {
  const cut = compilePreTokenizers(PRE_TOKENIZERS.map((step) => ({ ...step, at: step.type })));
  const counts = new Map<string, number>();
  for await (const text of texts) {
    for (const word of cut(wellFormed(text), true)) {
      const count = counts.get(word);
      counts.set(count === undefined ? detach(word) : word, (count ?? 0) + 1);
    }
    await turn();
  }
  return counts;
}

/** Called between steps: gives the event loop a turn when it is due. @throws ABORTED */
function turns(signal: AbortSignal | undefined): () => Promise<void> {
  let ends = performance.now() + TURN_MS;
  return async () => {
    throwIfAborted(signal, 'training the tokenizer');
    if (performance.now() < ends) return;
    await setImmediate();
    ends = performance.now() + TURN_MS;
  };
}
