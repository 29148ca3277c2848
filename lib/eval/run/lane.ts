import { Random } from '../../data/random.js';
import type { StreamDecoder } from '../../data/tokenizer.js';
import type { LanguageModel } from '../../model/language-model.js';
import { checkSampling, sample } from '../../model/sampler.js';
import { StopStrings } from '../../model/stop-strings.js';
import type { GenerationItem, GenerationRequest, GenerationResult } from './generations.js';

/** One text on its way. */
export class Lane {
  isDone = false;
  /** The last token. */
  next = 0;
  private text = '';
  private tokens = 0;
  private readonly random: Random;
  private readonly decoder: StreamDecoder;
  private readonly stops: StopStrings;
  private readonly sampling: ReturnType<typeof checkSampling>;

  constructor(
    private readonly model: LanguageModel,
    private readonly item: GenerationItem,
    { generation, seed }: GenerationRequest,
  ) {
    const { temperature = 0, topP = 1, stop } = generation;
    this.sampling = checkSampling({ temperature, topP });
    this.random = new Random(seed, 'evaluation');
    this.decoder = model.tokenizer.createDecoder({ skipSpecials: true });
    this.stops = new StopStrings(stop);
  }

  /** Takes the next token out of its logits [V]. */
  push(logits: Float32Array): void {
    const id = sample(logits, [], this.sampling, this.random);
    this.next = id;
    this.tokens++;
    const isLast = this.model.stopTokens.includes(id);
    // Checkpoints pad their vocabulary with ids that are no tokens.
    if (!isLast && id < this.model.tokenizer.vocabularySize) this.text += this.stops.push(this.decoder.push(id));
    if (isLast || this.tokens === this.item.maxTokens)
      this.text += this.stops.push(this.decoder.end()) + this.stops.end();
    this.isDone = isLast || this.stops.stopped || this.tokens === this.item.maxTokens;
  }

  get result(): GenerationResult {
    const { index, isCut } = this.item;
    return { index, text: this.text, tokens: this.tokens, isCut };
  }
}
