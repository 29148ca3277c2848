import { BtsError } from '../base/errors.js';
import type { Lane } from '../model/decoding/decode-together.js';
import { type GeneratedToken, Generation, type GenerationPlan } from '../model/decoding/generation.js';
import type { LogProbabilities } from '../model/decoding/log-probabilities.js';
import type { TokenModel } from '../model/decoding/token-model.js';
import type { TokenGates } from '../model/stitches/gate-log.js';
import { Pipe } from './pipe.js';

/** A prompt and how it is to be answered. */
export interface AnswerRequest extends Omit<GenerationPlan, 'index' | 'seed'> {
  /** An answer for each; none where only the prompt is asked about. */
  seeds: readonly number[];
  /** Tells what the model gave each token of the prompt but the first, and the so many likeliest ones in its place. */
  promptLogprobs?: number | undefined;
  /** Experts of a stitched model that take no part. */
  without: readonly string[];
  /** Tells with each token of an answer what the stitches gave the members, and with the first one that of the prompt. */
  gates?: boolean | undefined;
  /** Clients take turns. */
  client: string;
  /** Ends the answers; what comes then is the error ABORTED. */
  signal?: AbortSignal | undefined;
}

/** What comes of a request: what was asked about the prompt, which comes first, and the tokens of the answers, interleaved. */
export type AnswerEvent = { prompt: readonly LogProbabilities[] } | GeneratedToken;

/** A request on its way. */
export class Job {
  readonly answers: readonly Answer[];
  private readonly pipe = new Pipe<AnswerEvent>();
  private left: number;
  #ended = false;

  constructor(
    model: TokenModel,
    readonly request: AnswerRequest,
    /** Is told once, when nothing more is to be computed. */
    private readonly onEnd: (job: Job) => void,
  ) {
    this.answers = request.seeds.map(
      (seed, index) => new Answer(new Generation(model, { ...request, seed, index }), this),
    );
    this.left = this.answers.length;
    request.signal?.addEventListener('abort', this.abort);
    if (request.signal?.aborted) this.abort();
  }

  /** Tokens that a sequence of it takes in a cache. */
  get capacity(): number {
    return Math.max(this.request.prompt.length, ...this.answers.map(({ capacity }) => capacity));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Its events; whoever stops reading them ends it. */
  async *read(): AsyncGenerator<AnswerEvent, void> {
    try {
      yield* this.pipe.read();
    } finally {
      this.abort();
    }
  }

  /** The prompt has been computed. */
  tellPrompt(prompt: readonly LogProbabilities[] | undefined): void {
    if (prompt) this.pipe.push({ prompt });
    if (this.left === 0) this.end();
  }

  tell(token: GeneratedToken): void {
    if (this.#ended) return;
    this.pipe.push(token);
    if (token.finish && --this.left === 0) this.end();
  }

  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.request.signal?.removeEventListener('abort', this.abort);
    this.pipe.end(error);
    this.onEnd(this);
  }

  private readonly abort = (): void => {
    const cause = this.request.signal?.reason;
    this.end(new BtsError('ABORTED', 'the answer was stopped.', { cause }));
  };
}

/** One answer of a request. */
export class Answer implements Lane {
  readonly draw;
  readonly needsLogits;
  readonly capacity;
  private isOver = false;

  constructor(
    private readonly generation: Generation,
    private readonly job: Job,
  ) {
    this.draw = generation.draw;
    this.needsLogits = generation.needsLogits;
    this.capacity = generation.capacity;
  }

  get next(): number {
    return this.generation.next;
  }

  /** Also where nobody waits for it any more. */
  get isDone(): boolean {
    return this.isOver || this.job.ended;
  }

  push(id: number, logits?: Float32Array, gates?: readonly TokenGates[]): void {
    // Logits come also where only another sequence of the step asks for them.
    this.generation.push(id, this.needsLogits ? logits : undefined, gates);
    this.isOver = this.generation.isDone;
    this.job.tell(this.generation.latest);
  }
}
