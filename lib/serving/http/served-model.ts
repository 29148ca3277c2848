import type { LanguageModel } from '../../model/language-model.js';
import { Engine } from '../engine.js';
import type { EngineSettings } from '../options.js';
import { TokenText } from './token-text.js';

/** A model under the name that clients know it by. */
export class ServedModel {
  readonly engine: Engine;
  /** Prompts that may wait. */
  readonly maxQueue: number;
  private words: TokenText | undefined;

  constructor(
    readonly id: string,
    readonly model: LanguageModel,
    settings: EngineSettings,
  ) {
    this.maxQueue = settings.maxQueue;
    this.engine = new Engine(model, settings);
  }

  /** Throws BAD_TOKENIZER where the model has no tokenizer. */
  get tokenText(): TokenText {
    this.words ??= new TokenText(this.model.tokenizer);
    return this.words;
  }
}
