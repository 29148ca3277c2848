import { BtsError, expectAlive } from '../../base/errors.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { CacheGates, GateLog, GateRecordOptions } from '../stitches/gate-log.js';
import type { DecodeStep } from './decode-step.js';
import { cachedTokenBytes, PAGE_TOKENS, PagePool, pagesFor } from './page-pool.js';

/** What a cache keeps beside keys and values. */
export interface CacheOptions {
  /** Gates are told of the tokens that are appended. */
  gates?: GateRecordOptions | undefined;
  /** @internal Where its sequences get their pages from; default: a pool of its own. */
  pool?: PagePool | undefined;
}

/** What a model remembers of sequences that grow token by token. */
export interface TokenCache extends Disposable {
  /** Most tokens of a sequence. */
  readonly capacity: number;
  /** Tokens held, for each sequence. */
  readonly lengths: number[];
  /** Where they were asked for. */
  readonly gates?: CacheGates | undefined;
  /**
   * Puts a copy of another cache's sequence `from` in the place of sequence `to`. Throws BAD_OPTION where it does not fit.
   *
   * @param source a cache of the same model
   * @param from the sequence that is copied
   * @param to the sequence that becomes the same
   */
  copySequence(source: this, from: number, to: number): void;
  /** Gives back the memory. Twice is harmless; a cache that is used afterwards throws DISPOSED. */
  dispose(): void;
}

/**
 * Keys and values of all tokens seen so far, in pages of a pool: its own, which has pages for all its sequences, or one that is
 * given, of which its sequences hold what they were given. Sequences of a batch may have different lengths.
 */
export class KeyValueCache implements TokenCache {
  #disposed = false;
  readonly lengths: number[];
  /** @internal What one token more for every sequence takes, once it has been computed. It keeps the model's weights in memory. */
  step: { model: object; decode: DecodeStep; gates: GateLog | undefined } | undefined;
  /** @internal Where the rotation of a sequence hangs on its length: its tokens, cut or not, and the stage they are in. */
  readonly origins: ({ tokens: number[]; stage: number } | undefined)[] = [];
  /** @internal */
  readonly pool: PagePool;
  /** @internal Which pages a sequence has, [members, batch, pages of a sequence]; -1: none. */
  readonly table: Tensor;
  private readonly entries: Int32Array;
  private readonly ownsPool: boolean;
  /** Of each sequence: those of its first 64 tokens, one for each member, then those of the next. */
  private readonly held: number[][];
  readonly gates: CacheGates | undefined;

  /** @internal */
  constructor(
    device: Device,
    config: ModelConfig,
    /** M, models in lockstep. */
    readonly members: number,
    batch: number,
    /** Tokens of a sequence, at most. */
    readonly capacity: number,
    { gates, pool }: { gates?: CacheGates | undefined; pool?: PagePool | undefined } = {},
  ) {
    expectCacheSize(batch, capacity);
    const pages = pagesFor(capacity);
    if (!pool) {
      const bytes = batch * pages * PAGE_TOKENS * cachedTokenBytes(device, config, members);
      device.expectRoom(bytes, `a cache for ${batch} x ${capacity} tokens`);
    }
    this.gates = gates;
    this.lengths = new Array<number>(batch).fill(0);
    this.held = this.lengths.map(() => []);
    this.ownsPool = pool === undefined;
    this.pool = pool ?? new PagePool(device, config, batch * pages * members);
    this.entries = new Int32Array(members * batch * pages).fill(-1);
    if (!pool) {
      // Pages of one member of one sequence lie side by side: they are copied at once.
      for (let b = 0; b < batch; b++) {
        const own = Array.from(
          { length: members * pages },
          (_, i) => ((i % members) * batch + b) * pages + Math.floor(i / members),
        );
        this.enter(b, own);
      }
    }
    try {
      this.table = device.tensor(this.entries, [members, batch, pages]);
    } catch (error) {
      if (this.ownsPool) this.pool[Symbol.dispose]();
      throw error;
    }
  }

  /** @internal What holds the pages of layer `index`. */
  layer(index: number): { keys: Tensor; values: Tensor } {
    return this.pool.layer(index);
  }

  /** Throws BAD_OPTION unless `tokens` more fit for every sequence, DISPOSED. */
  expectRoom(tokens: number): void {
    expectAlive(this.#disposed, 'a cache');
    const most = this.lengths.reduce((a, b) => Math.max(a, b), 0);
    if (most + tokens > this.capacity) {
      throw new BtsError(
        'BAD_OPTION',
        `the cache holds ${this.capacity} tokens a sequence; ${most} are in it and ${tokens} more came.`,
      );
    }
  }

  /** @internal Gives a sequence, which has none, pages of the pool and what they hold: so many tokens. */
  hold(b: number, pages: readonly number[], length: number, origin?: KeyValueCache['origins'][number]): void {
    this.lengths[b] = length;
    this.origins[b] = origin && { ...origin, tokens: [...origin.tokens] };
    this.enter(b, pages);
    this.table.write(this.entries);
  }

  /** @internal Takes over a sequence of another cache of the same pool: nothing is copied. */
  takeOver(source: KeyValueCache, from: number, to: number): void {
    const [length, origin] = [source.lengths[from]!, source.origins[from]];
    this.hold(to, source.release(from), length, origin);
  }

  /** @internal The pages of a sequence, which stay its own. */
  pagesOf(b: number): readonly number[] {
    return this.held[b]!;
  }

  /** @internal Takes from a sequence its pages. */
  release(b: number): number[] {
    const pages = this.held[b]!;
    this.enter(b, []);
    this.lengths[b] = 0;
    this.origins[b] = undefined;
    this.table.write(this.entries);
    return pages;
  }

  private enter(b: number, pages: readonly number[]): void {
    this.held[b] = [...pages];
    const batch = this.lengths.length;
    const places = pagesFor(this.capacity);
    for (let m = 0; m < this.members; m++) {
      const first = (m * batch + b) * places;
      for (let i = 0; i < places; i++) this.entries[first + i] = pages[i * this.members + m] ?? -1;
    }
  }

  /** Puts a copy of another cache's sequence `from` in the place of sequence `to`. Throws BAD_OPTION where it does not fit. */
  copySequence(source: KeyValueCache, from: number, to: number): void {
    expectAlive(this.#disposed || source.#disposed, 'a cache');
    const length = source.lengths[from]!;
    if (length > this.capacity) {
      throw new BtsError(
        'BAD_OPTION',
        `the cache holds ${this.capacity} tokens a sequence; ${length} were to be copied.`,
      );
    }
    const ofMember = (pages: readonly number[], m: number) =>
      pages.slice(0, pagesFor(length) * this.members).filter((_, i) => i % this.members === m);
    for (let m = 0; m < this.members; m++) {
      this.pool.copy(source.pool, ofMember(source.held[from]!, m), ofMember(this.held[to]!, m));
    }
    this.lengths[to] = length;
    const origin = source.origins[from];
    this.origins[to] = origin && { ...origin, tokens: [...origin.tokens] };
  }

  /** @internal */
  endStep(): void {
    this.step?.decode[Symbol.dispose]();
    this.step?.gates?.[Symbol.dispose]();
    this.step = undefined;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.endStep();
    this.table.dispose();
    if (this.ownsPool) this.pool[Symbol.dispose]();
    else for (const pages of this.held.splice(0)) this.pool.give(pages);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Throws BAD_OPTION unless both are positive whole numbers of 32 bits. */
export function expectCacheSize(batch: number, capacity: number): void {
  for (const [name, value] of Object.entries({ batch, capacity })) {
    if (Number.isInteger(value) && value >= 1 && value < 2 ** 31) continue;
    throw new BtsError('BAD_OPTION', `a cache's ${name} is a positive whole number of 32 bits, not ${value}.`);
  }
}
