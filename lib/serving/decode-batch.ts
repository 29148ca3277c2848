import { BtsError } from '../base/errors.js';
import type { DecoderModel } from '../model/decoder-model.js';
import { advance } from '../model/decoding/decode-together.js';
import { type CacheOptions, cachedTokenBytes, type KeyValueCache } from '../model/decoding/key-value-cache.js';
import type { Decoding } from './decoding.js';
import type { Answer, Job } from './job.js';
import { PrefixStore } from './prefix-store.js';
import { SharedPass } from './shared-pass.js';

const LEAST_CAPACITY = 256;
/** The part of the memory for caches that prompts which were computed before may take. */
const PREFIX_SHARE = 0.25;

/**
 * Sequences that are decoded together, each of which joins when its prompt has been computed and leaves when it ends: the
 * lanes of one cache, whose decode step is recorded once. The cache grows and shrinks with what is on its way, by powers of
 * two, so that few are decoded as fast as few can be. It is as long for all as the longest needs.
 */
export class DecodeBatch implements Decoding {
  private cache: KeyValueCache | undefined;
  private lanes: (Answer | undefined)[] = [];
  /** Requests whose prompts are being computed, and the lanes that they were promised. */
  private readonly promised = new Map<Job, number>();
  private readonly prefixes: PrefixStore;
  private readonly tokenBytes: number;

  constructor(
    private readonly model: DecoderModel,
    private readonly options: CacheOptions,
    /** How many bytes all of its caches may take now. */
    private readonly mostBytes: () => number,
  ) {
    this.tokenBytes = cachedTokenBytes(model.device, model.config, model.transformer.members.length);
    this.prefixes = new PrefixStore(() => Math.floor((PREFIX_SHARE * mostBytes()) / this.tokenBytes));
  }

  get running(): number {
    return this.lanes.filter((lane) => lane && !lane.isDone).length;
  }

  get bytes(): number {
    const passes = [...this.promised.keys()].reduce((sum, { request }) => sum + request.prompt.length, 0);
    return (this.lanes.length * (this.cache?.capacity ?? 0) + passes + this.prefixes.tokens) * this.tokenBytes;
  }

  begin(job: Job): SharedPass {
    this.makeRoom(job);
    this.promised.set(job, job.answers.length);
    try {
      return new SharedPass(this.model, this.options, job, this.prefixes, (pass) => {
        this.promised.delete(job);
        if (pass.remaining > 0) return;
        for (const answer of job.answers) if (!answer.isDone) this.join(answer, pass.cache);
      });
    } catch (error) {
      this.promised.delete(job);
      throw error;
    }
  }

  async step(): Promise<void> {
    this.clearEnded();
    if (4 * this.taken <= this.lanes.length && this.lanes.length > this.widthFor(0)) {
      this.resize(this.widthFor(this.taken), this.cache!.capacity);
    }
    const cache = this.cache!;
    // Idle lanes compute something, too: it is never read.
    for (const [b, lane] of this.lanes.entries()) if (!lane) cache.lengths[b] = 0;
    await advance(
      this.model,
      cache,
      this.lanes.map((lane) => lane?.next ?? 0),
      this.lanes,
    );
  }

  /** Lanes of a cache for so many. */
  private widthFor(sequences: number): number {
    return powerOfTwo(Math.max(this.model.device.leastRows, sequences));
  }

  rest(): void {
    this.release();
    this.prefixes.clear();
  }

  /** Throws OUT_OF_MEMORY. */
  private makeRoom(job: Job): void {
    this.clearEnded();
    const isFree = this.taken === 0 && this.promised.size === 0;
    const width = this.widthFor(this.taken + job.answers.length);
    const capacity = Math.min(this.model.config.maxPositions, powerOfTwo(Math.max(LEAST_CAPACITY, job.capacity)));
    const has = { width: this.lanes.length, capacity: this.cache?.capacity ?? 0 };
    // A cache that nobody is in is made to measure, unless it is about what is needed.
    if (isFree && has.width * has.capacity > 4 * width * capacity) {
      this.release();
      this.makeRoom(job);
      return;
    }
    const prompt = job.request.prompt.length;
    if (has.width >= width && has.capacity >= capacity) {
      this.expectMemory(prompt);
      return;
    }
    if (isFree) this.release();
    const next = { width: Math.max(width, this.lanes.length), capacity: Math.max(capacity, this.cache?.capacity ?? 0) };
    // While sequences move, both caches are there.
    this.expectMemory(prompt + next.width * next.capacity);
    this.resize(next.width, next.capacity);
  }

  /** Lanes that are somebody's, or promised. */
  private get taken(): number {
    return this.running + [...this.promised.values()].reduce((sum, count) => sum + count, 0);
  }

  private clearEnded(): void {
    for (const [b, lane] of this.lanes.entries()) if (lane?.isDone) this.lanes[b] = undefined;
  }

  private join(answer: Answer, prompt: KeyValueCache): void {
    const b = this.lanes.findIndex((lane) => lane === undefined || lane.isDone);
    this.cache!.copySequence(prompt, 0, b);
    this.lanes[b] = answer;
  }

  /** Moves the sequences to another cache. Throws OUT_OF_MEMORY, and then all is as it was. */
  private resize(width: number, capacity: number): void {
    const cache = this.model.createCache(width, capacity, this.options);
    const lanes: (Answer | undefined)[] = new Array(width).fill(undefined);
    let to = 0;
    for (const [from, lane] of this.lanes.entries()) {
      if (!lane || lane.isDone) continue;
      cache.copySequence(this.cache!, from, to);
      lanes[to++] = lane;
    }
    this.cache?.dispose();
    this.cache = cache;
    this.lanes = lanes;
  }

  /** Throws OUT_OF_MEMORY where so many more tokens are not to be had. What is kept for its own sake goes first. */
  private expectMemory(tokens: number): void {
    const most = this.mostBytes();
    const bytes = () => this.bytes + tokens * this.tokenBytes;
    if (bytes() > most) this.prefixes.clear();
    if (bytes() <= most) return;
    throw new BtsError(
      'OUT_OF_MEMORY',
      `keys and values would take ${bytes()} bytes, and ${most} are left for them (cacheMemory).`,
    );
  }

  private release(): void {
    this.cache?.dispose();
    this.cache = undefined;
    this.lanes = [];
  }

  [Symbol.dispose](): void {
    this.rest();
  }
}

const powerOfTwo = (count: number) => 2 ** Math.ceil(Math.log2(count));
