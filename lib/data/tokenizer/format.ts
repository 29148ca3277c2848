import { z } from 'zod';
import { show } from '../../base/show.js';
import { badTokenizer } from './bad-tokenizer.js';
import {
  check,
  type Decoder,
  decoders,
  type Normalizer,
  normalizers,
  type PostProcessor,
  type PreTokenizer,
  postProcessors,
  preTokenizers,
  readComponents,
} from './components.js';
import { wellFormed } from './strings.js';

/** A checked tokenizer.json. */
export interface TokenizerFormat {
  normalizers: Normalizer[];
  preTokenizers: PreTokenizer[];
  postProcessors: PostProcessor[];
  decoders: Decoder[];
  addedTokens: AddedToken[];
  model: BytePairModel;
  /** The content of every token, added ones included: `tokens[id]`. */
  tokens: string[];
}

export interface BytePairModel {
  /** The model's own tokens; added ones are matched before the model sees the text. */
  ids: Map<string, number>;
  /** Rank r: tokens `left[r]` and `right[r]` become `merged[r]`. */
  merges: { left: Int32Array; right: Int32Array; merged: Int32Array };
  unknown: number | null;
  fuseUnknown: boolean;
  byteFallback: boolean;
  ignoreMerges: boolean;
}

const addedToken = z.object({
  id: z.number().int(),
  content: z.string().min(1),
  single_word: z.boolean(),
  lstrip: z.boolean(),
  rstrip: z.boolean(),
  normalized: z.boolean(),
  special: z.boolean(),
});
export type AddedToken = z.infer<typeof addedToken>;

const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);
const none = z.literal('', { error: 'expected none' }).nullish();
const model = z.strictObject({
  type: z.literal('BPE').optional(),
  vocab: z.unknown(),
  merges: z.unknown(),
  unk_token: z.string().nullish(),
  fuse_unk: flag,
  byte_fallback: flag,
  ignore_merges: flag,
  dropout: z.literal(0, { error: 'expected none, for it makes encoding random' }).nullish(),
  continuing_subword_prefix: none,
  end_of_word_suffix: none,
});
/** Truncation and padding are left out: as in transformers, they are up to the caller and not to the file. */
const file = z.object({
  version: z.literal('1.0').optional(),
  added_tokens: z.array(addedToken).default([]),
  model,
});

/** @throws BAD_TOKENIZER where `json` is malformed or names what cannot be reproduced; `path` is for the message */
export function readFormat(json: unknown, path: string): TokenizerFormat {
  const stage = (name: string) => (json as Record<string, unknown>)[name];
  const { added_tokens: addedTokens, model } = check(file, json, `${path}#`);
  const ids = readVocabulary(model.vocab, `${path}#/model/vocab`);
  const unknown = model.unk_token == null ? null : ids.get(model.unk_token);
  if (unknown === undefined) {
    throw badTokenizer(`${path}#/model/unk_token: ${show(model.unk_token)} is not in the vocab.`);
  }
  return {
    normalizers: readComponents(normalizers, 'normalizers', stage('normalizer'), `${path}#/normalizer`),
    preTokenizers: readComponents(preTokenizers, 'pretokenizers', stage('pre_tokenizer'), `${path}#/pre_tokenizer`),
    postProcessors: readComponents(postProcessors, 'processors', stage('post_processor'), `${path}#/post_processor`),
    decoders: readComponents(decoders, 'decoders', stage('decoder'), `${path}#/decoder`),
    addedTokens,
    model: {
      ids,
      merges: readMerges(model.merges, ids, `${path}#/model/merges`),
      unknown,
      fuseUnknown: model.fuse_unk,
      byteFallback: model.byte_fallback,
      ignoreMerges: model.ignore_merges,
    },
    tokens: listTokens(ids, addedTokens, `${path}#/added_tokens`),
  };
}

/** Ids are 0 … n-1, each once: a model's embedding has a row for each. */
function readVocabulary(vocab: unknown, at: string): Map<string, number> {
  if (typeof vocab !== 'object' || vocab === null || Array.isArray(vocab)) {
    throw badTokenizer(`${at}: expected an object of tokens and ids, found ${show(vocab)}.`);
  }
  const ids = new Map<string, number>(Object.entries(vocab));
  const seen = new Uint8Array(ids.size);
  for (const [token, id] of ids) {
    if (!Number.isInteger(id) || id < 0 || id >= ids.size || seen[id]) {
      throw badTokenizer(
        `${at}: ${show(token)} has id ${show(id)}; ${ids.size} tokens need the ids from 0, each once.`,
      );
    }
    if (token !== wellFormed(token)) throw badTokenizer(`${at}: ${show(token)} holds half a character.`);
    seen[id] = 1;
  }
  return ids;
}

/** Merges are pairs, or in older files strings of two tokens with a space between. */
function readMerges(merges: unknown, ids: Map<string, number>, at: string): BytePairModel['merges'] {
  if (!Array.isArray(merges)) throw badTokenizer(`${at}: expected a list, found ${show(merges)}.`);
  const column = () => new Int32Array(merges.length);
  const [left, right, merged] = [column(), column(), column()];
  for (const [rank, merge] of merges.entries()) {
    const pair: unknown[] = typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : [];
    const [a, b] = pair;
    if (pair.length !== 2 || typeof a !== 'string' || typeof b !== 'string') {
      throw badTokenizer(`${at}/${rank}: expected two tokens, found ${show(merge)}.`);
    }
    const [leftId, rightId, mergedId] = [ids.get(a), ids.get(b), ids.get(a + b)];
    if (leftId === undefined || rightId === undefined || mergedId === undefined) {
      const missing = leftId === undefined ? a : rightId === undefined ? b : a + b;
      throw badTokenizer(`${at}/${rank}: ${show(merge)} needs token ${show(missing)}, which is not in the vocab.`);
    }
    left[rank] = leftId;
    right[rank] = rightId;
    merged[rank] = mergedId;
  }
  return { left, right, merged };
}

/**
 * The reference implementation gives an added token the id that the vocab has for it, or else the next free one,
 * whatever the file says. A file that says otherwise has no certain meaning.
 */
export function listTokens(ids: Map<string, number>, addedTokens: AddedToken[], at: string): string[] {
  const tokens: string[] = new Array(ids.size);
  for (const [token, id] of ids) tokens[id] = token;
  const seen = new Set<string>();
  for (const [index, { content, id }] of addedTokens.entries()) {
    if (seen.has(content)) throw badTokenizer(`${at}/${index}: ${show(content)} is listed twice.`);
    if (content !== wellFormed(content)) throw badTokenizer(`${at}/${index}: ${show(content)} holds half a character.`);
    seen.add(content);
    const expected = ids.get(content) ?? tokens.length;
    if (id !== expected) throw badTokenizer(`${at}/${index}: ${show(content)} has id ${id}; it must be ${expected}.`);
    tokens[id] = content;
  }
  return tokens;
}
