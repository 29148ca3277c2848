import { toByteCharacters } from './byte-level.js';
import type { BytePairModel } from './format.js';
import { Heap } from './heap.js';
import { detach } from './strings.js';

/** SentencePiece's mark for a space. */
const SPACE_MARK = '\u2581';
/** Pieces up to this length are remembered: words come back, long pieces seldom do. */
const MAX_CACHED_LENGTH = 48;
const MAX_CACHED_PIECES = 2 ** 16;
/** A heap key is rank * 2^32 + position: lowest rank first, leftmost first, and an exact double. */
const POSITIONS = 2 ** 32;
const GONE = -1;

/** Byte-pair encoding of pieces: characters (or bytes) are merged in the order of the merges' ranks, leftmost first. */
export class BytePairs {
  private readonly vocabularySize: number;
  private readonly ranks = new Map<number, number>();
  private readonly cuttable: boolean;
  private readonly cache = new Map<string, number[]>();

  /** `byteLevel`: the vocabulary is written in the byte alphabet, see `toByteCharacters`. */
  constructor(
    private readonly model: BytePairModel,
    private readonly byteLevel: boolean,
  ) {
    const { ids, merges } = model;
    this.vocabularySize = ids.size;
    for (let rank = 0; rank < merges.left.length; rank++) {
      this.ranks.set(this.pair(merges.left[rank]!, merges.right[rank]!), rank);
    }
    this.cuttable = !byteLevel && !model.ignoreMerges && nothingMergesAcrossSpaces(model);
  }

  /** Appends the tokens of `piece` to `tokens`. */
  encode(piece: string, tokens: number[]): void {
    if (piece === '') return;
    const words = this.cuttable ? piece.match(/\u2581*[^\u2581]+|\u2581+/g)! : [piece];
    for (const word of words) this.encodeWord(word, tokens);
  }

  private encodeWord(word: string, tokens: number[]): void {
    let encoded = this.cache.get(word);
    if (!encoded) {
      const text = this.byteLevel ? toByteCharacters(word) : word;
      const whole = this.model.ignoreMerges ? this.model.ids.get(text) : undefined;
      encoded = whole === undefined ? this.merge(this.split(text)) : [whole];
      if (word.length <= MAX_CACHED_LENGTH) this.remember(word, encoded);
    }
    for (const token of encoded) tokens.push(token);
  }

  private remember(word: string, encoded: number[]): void {
    if (this.cache.size >= MAX_CACHED_PIECES) this.cache.clear();
    this.cache.set(detach(word), encoded);
  }

  /**
   * A token for each character. Follows the reference where that is peculiar too: an unknown token is held back until
   * the next known character, and characters of no token vanish where the model names no unknown token.
   */
  private split(text: string): number[] {
    const { ids, unknown, fuseUnknown } = this.model;
    const tokens: number[] = [];
    let isUnknownOpen = false;
    for (const character of text) {
      const token = ids.get(character);
      const bytes = token === undefined ? this.fallBackToBytes(character) : null;
      if (bytes) tokens.push(...bytes);
      else if (token !== undefined) {
        if (isUnknownOpen) tokens.push(unknown!);
        isUnknownOpen = false;
        tokens.push(token);
      } else if (unknown !== null) {
        if (isUnknownOpen && !fuseUnknown) tokens.push(unknown);
        isUnknownOpen = true;
      }
    }
    if (isUnknownOpen) tokens.push(unknown!);
    return tokens;
  }

  private fallBackToBytes(character: string): number[] | null {
    if (!this.model.byteFallback) return null;
    const tokens: number[] = [];
    for (const byte of Buffer.from(character, 'utf8')) {
      const token = this.model.ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
      if (token === undefined) return null;
      tokens.push(token);
    }
    return tokens;
  }

  /** Takes O(n log n) for n tokens: a linked list of the tokens and a heap of the merges that they allow. */
  private merge(tokens: number[]): number[] {
    const { merged } = this.model.merges;
    const next = tokens.map((_, at) => at + 1);
    const previous = tokens.map((_, at) => at - 1);
    const end = tokens.length;
    const heap = new Heap<number>((a, b) => a < b);
    const rankAt = (at: number): number | undefined => {
      const right = next[at]!;
      return right < end ? this.ranks.get(this.pair(tokens[at]!, tokens[right]!)) : undefined;
    };
    const offer = (at: number): void => {
      const rank = rankAt(at);
      if (rank !== undefined) heap.push(rank * POSITIONS + at);
    };
    for (let at = 0; at < end; at++) offer(at);
    for (let key = heap.pop(); key !== undefined; key = heap.pop()) {
      const rank = Math.floor(key / POSITIONS);
      const at = key % POSITIONS;
      const isStale = tokens[at] === GONE || rankAt(at) !== rank;
      if (isStale) continue;
      const right = next[at]!;
      tokens[at] = merged[rank]!;
      tokens[right] = GONE;
      next[at] = next[right]!;
      if (next[at]! < end) previous[next[at]!] = at;
      if (previous[at]! >= 0) offer(previous[at]!);
      offer(at);
    }
    return tokens.filter((token) => token !== GONE);
  }

  private pair(left: number, right: number): number {
    return left * this.vocabularySize + right;
  }
}

/**
 * Whether a text may be cut where a space mark follows another character, as no merge reaches across. SentencePiece
 * models take a whole text as one piece; cutting it first gives the same tokens, but of words that recur.
 */
function nothingMergesAcrossSpaces({ ids, merges: { left, right } }: BytePairModel): boolean {
  const first = new Set<number>();
  const notLast = new Set<number>();
  for (const [token, id] of ids) {
    if (token.startsWith(SPACE_MARK)) first.add(id);
    if (!token.endsWith(SPACE_MARK)) notLast.add(id);
  }
  return ids.has(SPACE_MARK) && left.every((id, rank) => !(notLast.has(id) && first.has(right[rank]!)));
}
