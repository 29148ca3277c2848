import { Random } from '../../base/random.js';
import type { StreamDecoder } from '../../data/tokenizer.js';
import { checkSampling } from '../../model/decoding/options.js';
import type { Draw } from '../../model/decoding/sampler.js';
import { StopStrings } from '../../model/decoding/stop-strings.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { PromptLane } from '../../model/requests/continue-prompts.js';
import type { Generation } from '../task.js';

/** A prompt as tokens, and how it is to go on. */
export interface LanePlan {
  /** Which request. */
  index: number;
  prompt: readonly number[];
  maxTokens: number;
  /** Whether the prompt was too long and lost its beginning. */
  isCut: boolean;
  generation: Generation;
  seed: number;
}

/** One text on its way. It is decoded without its prompt, as lm-eval does. */
export class Lane implements PromptLane {
  readonly needsLogits = false;
  readonly prompt: readonly number[];
  readonly capacity: number;
  isDone = false;
  /** The last token. */
  next = 0;
  text = '';
  /** Generated so far. */
  tokens = 0;
  readonly draw: Draw;
  private readonly decoder: StreamDecoder;
  private readonly stops: StopStrings;

  constructor(
    private readonly model: LanguageModel,
    readonly plan: LanePlan,
  ) {
    const { prompt, maxTokens, generation, seed } = plan;
    const { temperature = 0, topP, stop } = generation;
    this.prompt = prompt;
    this.capacity = prompt.length + maxTokens;
    this.draw = { options: checkSampling({ temperature, topP }), seen: [], random: new Random(seed, 'evaluation') };
    this.decoder = model.tokenizer.createDecoder({ skipSpecials: true });
    this.stops = new StopStrings(stop);
  }

  /** Takes the token that was drawn. */
  push(id: number): void {
    this.next = id;
    this.tokens++;
    const isLast = this.model.stopTokens.includes(id);
    // Checkpoints pad their vocabulary with ids that are no tokens.
    if (!isLast && id < this.model.tokenizer.vocabularySize) this.text += this.stops.push(this.decoder.push(id));
    if (isLast || this.tokens === this.plan.maxTokens)
      this.text += this.stops.push(this.decoder.end()) + this.stops.end();
    this.isDone = isLast || this.stops.stopped || this.tokens === this.plan.maxTokens;
  }
}
