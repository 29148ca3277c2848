import type { DecoderModel } from '../model/decoder-model.js';
import { appendTokens, type Place } from '../model/decoding/append-tokens.js';
import { advance } from '../model/decoding/decode-together.js';
import type { CacheOptions, KeyValueCache } from '../model/decoding/key-value-cache.js';
import { padded } from '../model/decoding/padding.js';
import { PAGE_TOKENS, type PagePool, pagesFor } from '../model/decoding/page-pool.js';
import type { Decoding } from './decoding.js';
import type { Answer, Job } from './job.js';
import { PrefixStore } from './prefix-store.js';
import { SharedPass } from './shared-pass.js';

const LEAST_CAPACITY = 256;

/**
 * Sequences that are decoded together, each of which joins when its prompt has been computed and leaves when it ends: the
 * lanes of one cache, whose decode step is recorded once. The lanes grow and shrink with what is on its way, by powers of two,
 * so that few are decoded as fast as few can be. A request has the pages that it may need before it begins: none ever waits
 * for memory in its middle.
 */
export class DecodeBatch implements Decoding {
  private cache: KeyValueCache | undefined;
  private lanes: (Answer | undefined)[] = [];
  /** Requests whose prompts are being computed: they were promised lanes. */
  private readonly promised = new Set<Job>();
  private readonly prefixes: PrefixStore;
  /** Of a sequence: it has as many pages for the same tokens. */
  private readonly members: number;

  constructor(
    private readonly model: DecoderModel,
    private readonly options: CacheOptions,
    private readonly pool: PagePool,
  ) {
    using cache = this.createCache(1, 1);
    this.members = cache.members;
    this.prefixes = new PrefixStore(pool, this.members);
  }

  get running(): number {
    return this.lanes.filter((lane) => lane && !lane.isDone).length;
  }

  begin(job: Job): SharedPass {
    this.clearEnded();
    const { prompt, promptLogprobs, gates } = job.request;
    const slots = Math.max(job.capacity, prompt.length + this.model.device.leastRows);
    const { members } = this;
    // LongRoPE may rotate a sequence anew: what others read must stay.
    const mayShare = this.model.transformer.limits.length === 0;
    // Whoever asks about the prompt needs all of it computed.
    const shared =
      mayShare && promptLogprobs === undefined && !gates ? this.prefixes.find(prompt) : { pages: [], length: 0 };
    const common = mayShare ? Math.floor(prompt.length / PAGE_TOKENS) * members : 0;
    const all = pagesFor(slots) * members;
    const others = Math.max(0, job.answers.length - 1);
    const needed = all - shared.pages.length + others * (all - common);
    const cache = this.createCache(1, slots);
    let pages: number[];
    try {
      this.prefixes.makeRoom(needed);
      pages = this.pool.take(needed);
    } catch (error) {
      this.pool.give(shared.pages);
      cache.dispose();
      throw error;
    }
    cache.hold(0, [...shared.pages, ...pages.splice(0, all - shared.pages.length)], shared.length);
    const spare = Array.from({ length: others }, () => pages.splice(0, all - common));
    this.promised.add(job);
    return new SharedPass(this.model, job, cache, (pass) => {
      this.promised.delete(job);
      try {
        if (pass.remaining > 0) return;
        if (mayShare) this.prefixes.keep(prompt, cache.pagesOf(0));
        this.join(job, cache, spare, common);
      } finally {
        for (const unused of spare) this.pool.give(unused);
        cache.dispose();
      }
    });
  }

  /** Those that have about as many tokens left as the first: each is as long as the longest in a pass. */
  together(passes: readonly SharedPass[], most: number): SharedPass[] {
    const [first] = passes as [SharedPass];
    const tokens = Math.min(most, first.remaining);
    if (first.isApart) return [first];
    const alike = ({ isApart, remaining }: SharedPass) => !isApart && remaining <= tokens && 2 * remaining >= tokens;
    return [first, ...passes.slice(1).filter(alike)].slice(0, Math.floor(most / tokens));
  }

  async advance(passes: readonly SharedPass[], most: number): Promise<number> {
    if (passes.length === 1) return await passes[0]!.advance(most);
    const parts = passes.map((pass) => pass.nextTokens(most));
    const longest = parts.reduce((length, part) => Math.max(length, part.length), 0);
    const slots = passes.reduce((most, { capacity }) => Math.max(most, capacity), 0);
    const places: Place[] = parts.map(({ length }, sequence) => ({ sequence, index: length - 1 }));
    using cache = this.createCache(passes.length, slots + padded(this.model.device, longest));
    for (const [b, pass] of passes.entries()) pass.lend(cache, b);
    try {
      await appendTokens(this.model, cache, parts, places, async (logits, at) => {
        for (let i = 0; i < logits.shape[0]!; i++) {
          const pass = passes[at + i]!;
          if (parts[at + i]!.length === pass.remaining) await pass.draw(logits, i, parts[at + i]!.length);
        }
      });
    } finally {
      for (const [b, pass] of passes.entries()) pass.reclaim(cache, b);
    }
    for (const [b, pass] of passes.entries()) pass.arrive(parts[b]!.length);
    return parts.reduce((sum, { length }) => sum + length, 0);
  }

  async step(): Promise<void> {
    this.clearEnded();
    if (4 * this.taken <= this.lanes.length && this.lanes.length > this.widthFor(0)) {
      this.resize(this.widthFor(this.taken), this.cache!.capacity);
    }
    const cache = this.cache!;
    // Lanes that nobody is in compute something, too: it is never read.
    for (const [b, lane] of this.lanes.entries()) if (!lane) cache.lengths[b] = 0;
    await advance(
      this.model,
      cache,
      this.lanes.map((lane) => lane?.next ?? 0),
      this.lanes,
    );
    this.clearEnded();
  }

  rest(): void {
    this.clearEnded();
    this.prefixes[Symbol.dispose]();
    if (this.taken === 0) this.release();
  }

  private release(): void {
    this.cache?.dispose();
    this.cache = undefined;
    this.lanes = [];
  }

  /** Lanes of a cache for so many. */
  private widthFor(sequences: number): number {
    return powerOfTwo(Math.max(this.model.device.leastLanes, sequences));
  }

  private createCache(sequences: number, capacity: number): KeyValueCache {
    return this.model.createCache(sequences, capacity, { ...this.options, pool: this.pool });
  }

  /** Lanes that are somebody's, or promised. */
  private get taken(): number {
    return [...this.promised].reduce((sum, { answers }) => sum + answers.length, this.running);
  }

  private clearEnded(): void {
    for (const [b, lane] of this.lanes.entries()) {
      if (!lane?.isDone) continue;
      this.lanes[b] = undefined;
      this.pool.give(this.cache!.release(b));
    }
  }

  /** Gives each answer to a prompt that has been computed a lane: the last one the prompt's pages, others its own and a copy. */
  private join(job: Job, prompt: KeyValueCache, spare: number[][], common: number): void {
    this.clearEnded();
    const answers = job.answers.filter(({ isDone }) => !isDone);
    const width = this.widthFor(this.running + answers.length);
    const capacity = Math.max(LEAST_CAPACITY, powerOfTwo(prompt.capacity));
    if (answers.length === 0) return;
    const has = this.cache?.capacity ?? 0;
    if (width > this.lanes.length || capacity > has) {
      this.resize(Math.max(width, this.lanes.length), Math.max(capacity, has));
    }
    const cache = this.cache!;
    for (const [i, answer] of answers.entries()) {
      const b = this.lanes.indexOf(undefined);
      if (i === answers.length - 1) {
        cache.takeOver(prompt, 0, b);
      } else {
        const [length, origin] = [prompt.lengths[0]!, prompt.origins[0]];
        const own = spare.pop()!;
        const filled = pagesFor(length) * this.members;
        this.pool.copy(this.pool, prompt.pagesOf(0).slice(common, filled), own.slice(0, filled - common));
        cache.hold(b, [...this.pool.share(prompt.pagesOf(0).slice(0, common)), ...own], length, origin);
      }
      this.lanes[b] = answer;
    }
  }

  /** Moves the sequences to other lanes. */
  private resize(width: number, capacity: number): void {
    const cache = this.createCache(width, capacity);
    const lanes: (Answer | undefined)[] = new Array(width).fill(undefined);
    let to = 0;
    for (const [from, lane] of this.lanes.entries()) {
      if (!lane || lane.isDone) continue;
      cache.takeOver(this.cache!, from, to);
      lanes[to++] = lane;
    }
    this.cache?.dispose();
    this.cache = cache;
    this.lanes = lanes;
  }

  [Symbol.dispose](): void {
    this.prefixes[Symbol.dispose]();
    this.release();
  }
}

const powerOfTwo = (count: number) => 2 ** Math.ceil(Math.log2(count));
