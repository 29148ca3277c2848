import { Random } from '../../base/random.js';
import type { StreamDecoder, Tokenizer } from '../../data/tokenizer.js';
import type { TokenGates } from '../stitches/gate-log.js';
import type { Lane } from './decode-together.js';
import { type LogProbabilities, logProbabilities } from './log-probabilities.js';
import type { Draw } from './sampler.js';
import { StopStrings } from './stop-strings.js';
import type { TokenModel } from './token-model.js';

/** With `logprobs`, its log-probabilities are those of the model itself: before temperature, penalty and the rest. */
export interface GeneratedToken extends Partial<LogProbabilities> {
  /** Which of the prompts it continues, from 0. */
  index: number;
  /** In the vocabulary. */
  id: number;
  /**
   * The text that became certain with this token: '' while a character is incomplete or a stop string may begin. Token
   * ids without stop strings are continued without a tokenizer, and without text.
   */
  text: string;
  /**
   * On the last token, why generation ended: a stop token or stop string came, there are `maxTokens`, or the model has no
   * positions left.
   */
  finish?: 'stop' | 'length' | 'context';
  /** With `gates`: those at the token before this one, where it was chosen. */
  gates?: TokenGates;
  /** With `gates`, on the first token: those by which each token of the prompt but its first was expected. */
  promptGates?: readonly TokenGates[];
}

/** What is generated, checked. */
export interface GenerationPlan {
  /** Which of the prompts. */
  index: number;
  /** One token at least. */
  prompt: readonly number[];
  /** Whether the prompt came as text, and text is to come out. */
  isText: boolean;
  sampling: Draw['options'];
  /** 1 at least. */
  maxTokens: number;
  seed: number;
  stop: readonly string[];
  stopTokens: ReadonlySet<number>;
  logprobs: number | undefined;
}

/** The continuation of one prompt on its way. */
export class Generation implements Lane {
  readonly prompt: readonly number[];
  readonly draw: Draw;
  readonly needsLogits: boolean;
  /** Most tokens that its cache holds. */
  readonly capacity: number;
  /** What the last token was told as. */
  latest!: GeneratedToken;
  private readonly tokens: number[];
  private readonly room: number;
  private readonly decoder: StreamDecoder | undefined;
  private readonly stops: StopStrings;

  constructor(
    model: TokenModel,
    private readonly plan: GenerationPlan,
  ) {
    const { prompt, isText, sampling, seed, stop, maxTokens, logprobs } = plan;
    const { maxPositions } = model.config;
    this.prompt = prompt;
    this.tokens = [...prompt];
    this.draw = { options: sampling, seen: this.tokens, random: new Random(seed, 'generate') };
    this.needsLogits = logprobs !== undefined;
    // The last position's token is generated, and there is no place to put it.
    this.room = maxPositions - prompt.length + 1;
    this.capacity = Math.min(maxPositions, prompt.length + maxTokens);
    this.decoder = isText || stop.length > 0 ? continueText(model.tokenizer, prompt) : undefined;
    this.stops = new StopStrings(stop);
  }

  get next(): number {
    return this.latest.id;
  }

  get isDone(): boolean {
    return this.latest.finish !== undefined;
  }

  push(id: number, logits?: Float32Array, gates?: readonly TokenGates[]): void {
    const { index, maxTokens, stopTokens, logprobs } = this.plan;
    const isFirst = this.latest === undefined;
    const isStop = stopTokens.has(id);
    if (!isStop) this.tokens.push(id);
    const count = this.tokens.length - this.prompt.length;
    const ending = isStop ? 'stop' : count === maxTokens ? 'length' : count === this.room ? 'context' : undefined;
    let text = isStop ? '' : this.stops.push(this.decoder?.push(id) ?? '');
    if (ending) text += this.stops.push(this.decoder?.end() ?? '') + this.stops.end();
    const finish = this.stops.stopped ? 'stop' : ending;
    const found = logits && logProbabilities(logits, id, logprobs!);
    this.latest = { index, id, text, ...found, ...(finish && { finish }) };
    if (!gates) return;
    this.latest.gates = gates.at(-1)!;
    if (isFirst) this.latest.promptGates = gates.slice(0, -1);
  }
}

/**
 * Decodes what follows a prompt: how a token reads may depend on those before it. Special tokens are not text, nor are the
 * ids with which checkpoints pad their vocabulary.
 */
function continueText(tokenizer: Tokenizer, prompt: readonly number[]): StreamDecoder {
  const isKnown = (id: number) => id < tokenizer.vocabularySize;
  const decoder = tokenizer.createDecoder({ skipSpecials: true });
  const before = prompt.filter(isKnown);
  const shown = before.map((id) => decoder.push(id)).join('');
  // Of a prompt that ends in byte tokens, the decoder holds some back until it sees what follows.
  let held = tokenizer.decode(before, { skipSpecials: true }).slice(shown.length);
  const withoutHeld = (text: string) => {
    const own = text.startsWith(held) ? text.slice(held.length) : text;
    if (text !== '') held = '';
    return own;
  };
  return {
    push: (id) => withoutHeld(isKnown(id) ? decoder.push(id) : ''),
    end: () => withoutHeld(decoder.end()),
  };
}
