import type { DecoderModel } from '../model/decoder-model.js';
import { appendTokens, type Place } from '../model/decoding/append-tokens.js';
import type { KeyValueCache } from '../model/decoding/key-value-cache.js';
import { type LogProbabilities, logProbabilities } from '../model/decoding/log-probabilities.js';
import { sample } from '../model/decoding/sampler.js';
import type { TokenGates } from '../model/stitches/gate-log.js';
import type { Tensor } from '../tensor/tensor.js';
import type { PromptPass } from './decoding.js';
import type { Job } from './job.js';

/** A prompt on its way through a decoder, in a cache of its own. */
export class SharedPass implements PromptPass {
  /** Tokens of the prompt that are in the cache. */
  private computed: number;
  private readonly scores: LogProbabilities[] = [];
  private readonly gates: TokenGates[] = [];
  private isOver = false;

  constructor(
    private readonly model: DecoderModel,
    readonly job: Job,
    /** Of one sequence, which may have a beginning of the prompt. */
    private readonly cache: KeyValueCache,
    /** Is told once: when the prompt is computed, or when it ends before that. */
    private readonly onEnd: (pass: SharedPass) => void,
  ) {
    this.computed = cache.lengths[0]!;
  }

  /** Slots that its sequence may fill. */
  get capacity(): number {
    return this.cache.capacity;
  }

  get remaining(): number {
    return this.job.request.prompt.length - this.computed;
  }

  /** Whether more than the next token is asked of its rows: it is computed by itself. */
  get isApart(): boolean {
    return this.job.request.promptLogprobs !== undefined || this.cache.gates !== undefined;
  }

  nextTokens(most: number): readonly number[] {
    return this.job.request.prompt.slice(this.computed, this.computed + most);
  }

  /** Moves its sequence to a place of another cache. */
  lend(to: KeyValueCache, b: number): void {
    to.takeOver(this.cache, 0, b);
  }

  /** Takes it back. */
  reclaim(from: KeyValueCache, b: number): void {
    this.cache.takeOver(from, b, 0);
  }

  /** So many tokens more are in the cache, which has its sequence again. */
  arrive(tokens: number): void {
    this.computed += tokens;
    if (this.remaining === 0) this.end();
  }

  async advance(most: number): Promise<number> {
    const { prompt, promptLogprobs } = this.job.request;
    const first = this.computed;
    const tokens = this.nextTokens(most);
    const last = first + tokens.length - 1;
    const places: Place[] = tokens.map((_, index) => ({ sequence: 0, index }));
    const asked = promptLogprobs !== undefined ? places : last === prompt.length - 1 ? places.slice(-1) : [];
    const start = tokens.length - asked.length;
    await appendTokens(this.model, this.cache, [tokens], asked, async (logits, at) => {
      const count = logits.shape[0]!;
      const place = first + start + at;
      if (promptLogprobs !== undefined) await this.score(logits, place, promptLogprobs);
      if (place + count === prompt.length) await this.draw(logits, count - 1, tokens.length);
    });
    if (tokens.length < this.remaining) await this.keepGates(tokens.length);
    this.arrive(tokens.length);
    return tokens.length;
  }

  /** What the tokens behind these places were given. */
  private async score(logits: Tensor, first: number, count: number): Promise<void> {
    const { prompt } = this.job.request;
    const [rows = 0, vocabulary = 0] = logits.shape;
    const values = await logits.read();
    for (let i = 0; i < rows && first + i + 1 < prompt.length; i++) {
      const row = values.subarray(i * vocabulary, (i + 1) * vocabulary);
      this.scores.push(logProbabilities(row, prompt[first + i + 1]!, count));
    }
  }

  /** Those of the tokens that were appended last. */
  private async keepGates(tokens: number): Promise<void> {
    const rows = (await this.cache.gates?.latest) ?? [];
    this.gates.push(...rows.slice(0, tokens));
  }

  /** Draws the first token of each answer, behind the `tokens` that were appended last. */
  async draw(logits: Tensor, row: number, tokens: number): Promise<void> {
    await this.keepGates(tokens);
    const gates = this.cache.gates && this.gates;
    this.job.tellPrompt(this.job.request.promptLogprobs === undefined ? undefined : this.scores);
    using last = logits.slice(row, row + 1);
    for (const answer of this.job.answers) {
      if (answer.isDone) continue;
      const [id = 0] = await sample(last, [answer.draw]);
      answer.push(id, answer.needsLogits ? await last.read() : undefined, gates);
    }
  }

  private end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.onEnd(this);
  }

  [Symbol.dispose](): void {
    this.end();
  }
}
