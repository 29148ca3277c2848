import type { PagePool } from '../model/decoding/page-pool.js';
import { PAGE_TOKENS } from '../model/decoding/page-pool.js';

interface Kept {
  /** As many as fill its pages. */
  tokens: readonly number[];
  pages: readonly number[];
}

/** Prompts that were computed lately, with their pages: those that begin alike go on from there. */
export class PrefixStore implements Disposable {
  /** The one used last comes last. */
  private kept: Kept[] = [];

  constructor(
    private readonly pool: PagePool,
    /** Of a model: a page for each holds the same tokens. */
    private readonly members: number,
  ) {}

  /** Becomes an owner of those pages that a prompt fills; `pages` begin with them. */
  keep(tokens: readonly number[], pages: readonly number[]): void {
    const whole = Math.floor(tokens.length / PAGE_TOKENS);
    if (whole === 0) return;
    const filled = tokens.slice(0, whole * PAGE_TOKENS);
    if (this.kept.some((one) => commonLength(one.tokens, filled) === filled.length)) return;
    // What another one begins with is there with the other one.
    for (const one of this.kept.filter((one) => commonLength(one.tokens, filled) === one.tokens.length)) this.drop(one);
    this.kept.push({ tokens: filled, pages: this.pool.share(pages.slice(0, whole * this.members)) });
  }

  /** Pages with the most tokens that these begin with, all but the last at most: the caller becomes another owner. */
  find(tokens: readonly number[]): { pages: number[]; length: number } {
    let best: Kept | undefined;
    let whole = 0;
    for (const one of this.kept) {
      const common = Math.min(tokens.length - 1, commonLength(one.tokens, tokens));
      if (Math.floor(common / PAGE_TOKENS) > whole) [best, whole] = [one, Math.floor(common / PAGE_TOKENS)];
    }
    if (!best) return { pages: [], length: 0 };
    this.kept.push(...this.kept.splice(this.kept.indexOf(best), 1));
    return { pages: this.pool.share(best.pages.slice(0, whole * this.members)), length: whole * PAGE_TOKENS };
  }

  /** Gives pages back, of those used longest ago first, until so many are free or none is left. */
  makeRoom(pages: number): void {
    while (this.pool.available < pages && this.kept.length > 0) this.drop(this.kept[0]!);
  }

  private drop(one: Kept): void {
    this.pool.give(one.pages);
    this.kept = this.kept.filter((other) => other !== one);
  }

  [Symbol.dispose](): void {
    for (const one of this.kept) this.drop(one);
  }
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[length] === b[length]) length++;
  return length;
}
