import { advance } from '../model/decoding/decode-together.js';
import type { CacheOptions, TokenCache } from '../model/decoding/key-value-cache.js';
import { logProbabilities } from '../model/decoding/log-probabilities.js';
import type { LanguageModel } from '../model/language-model.js';
import type { Decoding, PromptPass } from './decoding.js';
import type { Answer, Job } from './job.js';

/**
 * Sequences of a model that cannot compute several together, such as an ensemble: each has a cache of its own, and they get
 * their tokens in turn. Prompts are computed as a whole: a router of sequences decides by all of it.
 */
export class SeparateSequences implements Decoding {
  private sequences: { answer: Answer; cache: TokenCache }[] = [];

  constructor(
    private readonly model: LanguageModel,
    private readonly options: CacheOptions,
  ) {}

  get running(): number {
    return this.sequences.filter(({ answer }) => !answer.isDone).length;
  }

  begin(job: Job): WholePass {
    return new WholePass(this.model, this.options, job, (answer, cache) => this.sequences.push({ answer, cache }));
  }

  together(passes: readonly PromptPass[]): PromptPass[] {
    return passes.slice(0, 1);
  }

  async advance(passes: readonly PromptPass[]): Promise<number> {
    return await (passes[0] as WholePass).advance();
  }

  async step(): Promise<void> {
    for (const { answer, cache } of this.sequences) {
      if (!answer.isDone) await advance(this.model, cache, [answer.next], [answer]);
    }
    this.clearEnded();
  }

  rest(): void {
    this.clearEnded();
  }

  private clearEnded(): void {
    for (const { answer, cache } of this.sequences) if (answer.isDone) cache.dispose();
    this.sequences = this.sequences.filter(({ answer }) => !answer.isDone);
  }

  [Symbol.dispose](): void {
    for (const { cache } of this.sequences.splice(0)) cache.dispose();
  }
}

class WholePass implements PromptPass {
  remaining: number;

  constructor(
    private readonly model: LanguageModel,
    private readonly options: CacheOptions,
    readonly job: Job,
    private readonly join: (answer: Answer, cache: TokenCache) => void,
  ) {
    this.remaining = job.request.prompt.length;
  }

  async advance(): Promise<number> {
    const { prompt, promptLogprobs } = this.job.request;
    this.job.tellPrompt(promptLogprobs === undefined ? undefined : await this.scores(prompt, promptLogprobs));
    for (const answer of this.job.answers) {
      if (answer.isDone) continue;
      const cache = this.model.createCache(1, answer.capacity, this.options);
      try {
        await advance(this.model, cache, prompt, [answer]);
      } catch (error) {
        cache.dispose();
        throw error;
      }
      if (answer.isDone) cache.dispose();
      else this.join(answer, cache);
    }
    this.remaining = 0;
    return prompt.length;
  }

  private async scores(prompt: readonly number[], count: number) {
    const vocabulary = this.model.config.vocabularySize;
    const logits = await this.model.logits(prompt);
    return prompt
      .slice(1)
      .map((id, i) => logProbabilities(logits.subarray(i * vocabulary, (i + 1) * vocabulary), id, count));
  }

  [Symbol.dispose](): void {}
}
