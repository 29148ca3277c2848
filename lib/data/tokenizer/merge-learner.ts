import { Heap } from './heap.js';

/** Two tokens that stand side by side somewhere. */
export interface Pair {
  readonly left: number;
  readonly right: number;
  /** How often they do. */
  count: number;
  /** The words in which they do or once did. */
  words: number[];
}

interface Word {
  tokens: number[];
  count: number;
}

/** A bound on token ids that keeps the key of a pair an exact double. */
export const MAX_TOKENS = 2 ** 24;

/**
 * Counts adjacent pairs of tokens in words and keeps the counts up to date as pairs are merged: a merge costs time in
 * proportion to the words that it changes.
 */
export class MergeLearner {
  private readonly words: Word[] = [];
  private readonly pairs = new Map<number, Pair>();
  /** May hold a pair several times and with old counts; `mostFrequent` drops what is outdated. */
  private readonly queue = new Heap<{ pair: Pair; count: number }>(
    (a, b) => a.count > b.count || (a.count === b.count && precedes(a.pair, b.pair)),
  );
  private readonly grown = new Set<Pair>();

  /** How many words were added. */
  get size(): number {
    return this.words.length;
  }

  /** Adds a word that occurs `count` times in the text. Takes over `tokens`. */
  add(tokens: number[], count: number): void {
    const word = this.words.push({ tokens, count }) - 1;
    for (let at = 1; at < tokens.length; at++) this.change(tokens[at - 1]!, tokens[at]!, count, word);
  }

  /** The pair with the highest count, among equals the one with the lowest left, then lowest right id. */
  mostFrequent(): Pair | undefined {
    for (const pair of this.grown) this.queue.push({ pair, count: pair.count });
    this.grown.clear();
    for (let top = this.queue.pop(); top; top = this.queue.pop()) {
      const { pair, count } = top;
      if (pair.count <= 0) continue;
      if (pair.count === count) return pair;
      this.queue.push({ pair, count: pair.count });
    }
    return undefined;
  }

  /** Puts `merged` in the place of `pair` in all words, in each from left to right. */
  merge(pair: Pair, merged: number): void {
    for (const word of pair.words) this.mergeIn(word, pair, merged);
    this.pairs.delete(pair.left * MAX_TOKENS + pair.right);
    pair.count = 0;
    pair.words = [];
  }

  private mergeIn(index: number, { left, right }: Pair, merged: number): void {
    const word = this.words[index]!;
    const { tokens, count } = word;
    const result: number[] = [];
    for (let at = 0; at < tokens.length; at++) {
      if (tokens[at] !== left || tokens[at + 1] !== right) {
        result.push(tokens[at]!);
        continue;
      }
      const before = result.at(-1);
      const after = tokens[at + 2];
      if (before !== undefined) {
        this.change(before, left, -count, index);
        this.change(before, merged, count, index);
      }
      if (after !== undefined) {
        this.change(right, after, -count, index);
        this.change(merged, after, count, index);
      }
      result.push(merged);
      at++;
    }
    word.tokens = result;
  }

  private change(left: number, right: number, difference: number, word: number): void {
    const key = left * MAX_TOKENS + right;
    let pair = this.pairs.get(key);
    if (!pair) {
      pair = { left, right, count: 0, words: [] };
      this.pairs.set(key, pair);
    }
    pair.count += difference;
    if (difference < 0) return;
    this.grown.add(pair);
    if (pair.words.at(-1) !== word) pair.words.push(word);
  }
}

function precedes(a: Pair, b: Pair): boolean {
  return a.left < b.left || (a.left === b.left && a.right < b.right);
}
