import { setImmediate } from 'node:timers/promises';
import { BtsError } from '../base/errors.js';
import { DecoderModel } from '../model/decoder-model.js';
import type { CacheOptions } from '../model/decoding/key-value-cache.js';
import { cachedTokenBytes, PAGE_TOKENS, PagePool, pagesFor } from '../model/decoding/page-pool.js';
import type { LanguageModel } from '../model/language-model.js';
import { StitchedModel } from '../model/stitched-model.js';
import { DecodeBatch } from './decode-batch.js';
import type { Decoding, PromptPass } from './decoding.js';
import { FairQueue } from './fair-queue.js';
import { type AnswerEvent, type AnswerRequest, Job } from './job.js';
import type { EngineSettings } from './options.js';
import { SeparateSequences } from './separate-sequences.js';

/** Prompts that take turns: a short one does not wait for the end of a long one. Each has a cache of its own meanwhile. */
const MOST_PASSES = 4;
/** Sets of experts that stay ready where nobody asks for them. */
const MOST_SETS = 4;
const GIB = 2 ** 30;
const MEMORY_SHARE = 0.25;
/** At most, where nobody says how much memory there is: of a GPU. */
const UNASKED_BYTES = 8 * GIB;

/** The requests for one set of experts, with gates or without. */
interface ExpertSet {
  model: LanguageModel;
  decoding: Decoding;
  jobs: Set<Job>;
}

/**
 * Answers requests of many clients with one model. It computes them together: parts of prompts and steps of decoding take
 * turns, so that a long prompt does not stop those who are being answered. What a request gets does not depend on the others.
 */
export class Engine {
  private readonly queue = new FairQueue<Job>();
  private readonly sets = new Map<string, ExpertSet>();
  private readonly jobs = new Set<Job>();
  private passes: { pass: PromptPass; set: ExpertSet }[] = [];
  /** The first of the queue waits for memory, until something ends. */
  private isFull = false;
  private isClosing = false;
  private wake: () => void = () => {};
  private readonly work: Promise<void>;
  private pool: PagePool | undefined;
  /** Tokens of prompts that were computed; what was shared with another prompt was not. */
  computedPromptTokens = 0;
  /** Why nothing more can be expected of the device. */
  deviceFailure: BtsError | undefined;

  constructor(
    readonly model: LanguageModel,
    private readonly settings: EngineSettings,
  ) {
    this.work = this.run();
  }

  /** What can be switched off. */
  get experts(): string[] {
    return this.model instanceof StitchedModel ? this.model.memberNames.slice(1) : [];
  }

  /** Prompts that wait. */
  get waiting(): number {
    return this.queue.length;
  }

  /** Prompts that are computed, and answers. */
  get running(): number {
    return this.passes.length + [...this.sets.values()].reduce((sum, { decoding }) => sum + decoding.running, 0);
  }

  /** Answers that were begun, and prompts that get none. */
  private get taken(): number {
    const begun = [...this.sets.values()].flatMap(({ jobs }) => [...jobs]);
    return begun.reduce((sum, { answers }) => sum + Math.max(1, answers.filter(({ isDone }) => !isDone).length), 0);
  }

  /** Keys and values of all sequences, and of beginnings that are kept; not of models whose caches are of several kinds. */
  get cacheBytes(): number {
    return this.pool ? (this.pool.pages - this.pool.available) * this.pool.pageBytes : 0;
  }

  /**
   * Takes requests, all of them or none: what each gives, in their order. Throws BAD_OPTION, BAD_TOKEN, and BUSY where too
   * many wait. What goes wrong later is thrown where it is read.
   */
  submit(requests: readonly AnswerRequest[]): AsyncGenerator<AnswerEvent, void>[] {
    for (const request of requests) this.check(request);
    if (this.isClosing) throw new BtsError('BUSY', 'the server is being stopped.');
    const { maxQueue } = this.settings;
    if (this.queue.length + requests.length > maxQueue) {
      throw new BtsError(
        'BUSY',
        `${requests.length} prompts came while ${this.queue.length} wait, and ${maxQueue} may wait (maxQueue). Try again later.`,
      );
    }
    const jobs = requests.map((request) => new Job(this.model, request, (job) => this.onEnd(job)));
    for (const job of jobs) {
      if (job.ended) continue;
      this.jobs.add(job);
      this.queue.push(job.request.client, job);
    }
    this.wake();
    return jobs.map((job) => job.read());
  }

  /** Finishes what is there, and takes nothing more. */
  async close(): Promise<void> {
    this.isClosing = true;
    this.wake();
    await this.work;
    for (const { decoding } of this.sets.values()) decoding[Symbol.dispose]();
    this.sets.clear();
    this.pool?.[Symbol.dispose]();
  }

  private check({ prompt, seeds, without, gates }: AnswerRequest): void {
    const { vocabularySize, maxPositions } = this.model.config;
    const { maxSequences } = this.settings;
    if (prompt.length === 0) throw new BtsError('BAD_OPTION', 'the prompt is empty: it has no tokens.');
    if (prompt.length > maxPositions) {
      throw new BtsError(
        'BAD_OPTION',
        `the prompt has ${prompt.length} tokens, the model takes at most ${maxPositions} (max_position_embeddings).`,
      );
    }
    const at = prompt.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (at >= 0) {
      throw new BtsError(
        'BAD_TOKEN',
        `token id ${prompt[at]} at place ${at} lies outside the vocabulary of ${vocabularySize}.`,
      );
    }
    if (seeds.length > maxSequences) {
      throw new BtsError(
        'BAD_OPTION',
        `${seeds.length} answers to one prompt were asked for, and ${maxSequences} are computed together at most (maxSequences).`,
      );
    }
    if (gates && !this.model.hasGates) {
      throw new BtsError('BAD_OPTION', 'gates: the model has none, only stitched models have.');
    }
    const experts = this.experts;
    const unknown = without.find((name) => !experts.includes(name));
    if (unknown !== undefined) {
      const known = experts.length > 0 ? `its experts are ${experts.join(', ')}` : 'only stitched models have any';
      throw new BtsError('BAD_OPTION', `'${unknown}' is no expert that can be switched off: ${known}.`);
    }
  }

  private onEnd(job: Job): void {
    this.jobs.delete(job);
    this.queue.remove(job.request.client, job);
    for (const { jobs } of this.sets.values()) jobs.delete(job);
    this.isFull = false;
    this.wake();
  }

  private async run(): Promise<void> {
    for (;;) {
      this.admit();
      if (this.running === 0) {
        if (this.isClosing && this.jobs.size === 0) return;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
        continue;
      }
      await this.computePrompts();
      for (const set of this.sets.values()) if (set.decoding.running > 0) await this.step(set);
      // Who wants to leave or to come is heard after every token.
      await setImmediate();
    }
  }

  private admit(): void {
    while (!this.isFull && this.passes.length < MOST_PASSES) {
      const job = this.queue.first;
      if (!job || this.taken + Math.max(1, job.answers.length) > this.settings.maxSequences) return;
      try {
        const set = this.setOf(job.request);
        this.passes.push({ pass: set.decoding.begin(job), set });
        set.jobs.add(job);
        this.queue.shift();
      } catch (error) {
        const isMemory = error instanceof BtsError && error.code === 'OUT_OF_MEMORY';
        if (isMemory && this.letGo()) continue;
        this.isFull = isMemory && this.running > 0;
        if (!this.isFull) job.end(error);
      }
    }
  }

  /** Gives back what is kept for requests that may come. Returns whether there was something. */
  private letGo(): boolean {
    const before = this.cacheBytes;
    for (const { decoding } of this.sets.values()) decoding.rest();
    return this.cacheBytes < before;
  }

  private async computePrompts(): Promise<void> {
    for (let left = this.settings.chunkTokens; left > 0; ) {
      for (const { pass } of this.passes) if (pass.job.ended) pass[Symbol.dispose]();
      this.passes = this.passes.filter(({ pass }) => !pass.job.ended);
      if (this.passes.length === 0) return;
      const { set } = this.passes[0]!;
      const ofSet = this.passes.filter((one) => one.set === set).map(({ pass }) => pass);
      const now = set.decoding.together(ofSet, left);
      this.passes = this.passes.filter(({ pass }) => !now.includes(pass));
      try {
        const tokens = await set.decoding.advance(now, left);
        left -= tokens;
        this.computedPromptTokens += tokens;
      } catch (error) {
        this.noteFailure(error);
        for (const { job } of now) job.end(error);
      }
      for (const pass of now) {
        if (pass.remaining > 0 && !pass.job.ended) this.passes.push({ pass, set });
        else pass[Symbol.dispose]();
      }
    }
  }

  private async step(set: ExpertSet): Promise<void> {
    try {
      await set.decoding.step();
    } catch (error) {
      this.noteFailure(error);
      for (const job of [...set.jobs]) job.end(error);
      for (const { pass } of this.passes.filter((one) => one.set === set)) pass[Symbol.dispose]();
      this.passes = this.passes.filter((one) => one.set !== set);
      set.decoding.rest();
    }
  }

  private noteFailure(error: unknown): void {
    if (error instanceof BtsError && error.code === 'DEVICE_FAILED') this.deviceFailure = error;
  }

  /** Who asks for gates is computed apart from those who do not: telling them costs a little. */
  private setOf({ without, gates = false }: AnswerRequest): ExpertSet {
    const key = JSON.stringify([gates, [...new Set(without)].sort()]);
    let set = this.sets.get(key);
    if (!set) {
      this.forgetSets();
      const model = this.model instanceof StitchedModel ? this.model.without(without) : this.model;
      const options: CacheOptions = { gates: gates ? {} : undefined };
      const decoding =
        model instanceof DecoderModel
          ? new DecodeBatch(model, options, this.pagesOf(model))
          : new SeparateSequences(model, options);
      set = { model, decoding, jobs: new Set() };
    }
    // The one used last comes last.
    this.sets.delete(key);
    this.sets.set(key, set);
    return set;
  }

  private forgetSets(): void {
    for (const [key, { model, decoding, jobs }] of this.sets) {
      if (this.sets.size < MOST_SETS) return;
      if (jobs.size > 0) continue;
      decoding[Symbol.dispose]();
      if (model !== this.model) model.dispose();
      this.sets.delete(key);
    }
  }

  /** The pool of all expert sets: what memory there is for it, or what as many sequences as there may be can fill. */
  private pagesOf(model: DecoderModel): PagePool {
    if (this.pool) return this.pool;
    const { cacheMemory, maxSequences } = this.settings;
    const { device, config, transformer } = model;
    const share = Math.min(UNASKED_BYTES, MEMORY_SHARE * device.memoryBytes);
    const bytes = cacheMemory === undefined ? share : cacheMemory * GIB;
    const pageBytes = PAGE_TOKENS * cachedTokenBytes(device, config, 1);
    const most = maxSequences * transformer.members.length * pagesFor(config.maxPositions + device.leastRows);
    this.pool = new PagePool(device, config, Math.max(1, Math.min(most, Math.floor(bytes / pageBytes))));
    return this.pool;
  }
}
