import { Random } from '../../base/random.js';
import type { StreamDecoder } from '../../data/tokenizer.js';
import type { Lane as DecodingLane } from '../../model/decoding/decode-together.js';
import { checkSampling } from '../../model/decoding/options.js';
import type { Draw } from '../../model/decoding/sampler.js';
import { StopStrings } from '../../model/decoding/stop-strings.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { GenerationItem, GenerationRequest, GenerationResult } from './generations.js';

/** One text on its way. */
export class Lane implements DecodingLane {
  readonly needsLogits = false;
  isDone = false;
  /** The last token. */
  next = 0;
  private text = '';
  private tokens = 0;
  /** How its next token is drawn. */
  readonly draw: Draw;
  private readonly decoder: StreamDecoder;
  private readonly stops: StopStrings;

  constructor(
    private readonly model: LanguageModel,
    readonly item: GenerationItem,
    { generation, seed }: GenerationRequest,
  ) {
    const { temperature = 0, topP, stop } = generation;
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
    if (isLast || this.tokens === this.item.maxTokens)
      this.text += this.stops.push(this.decoder.end()) + this.stops.end();
    this.isDone = isLast || this.stops.stopped || this.tokens === this.item.maxTokens;
  }

  get result(): GenerationResult {
    const { index, isCut } = this.item;
    return { index, text: this.text, tokens: this.tokens, isCut };
  }
}
