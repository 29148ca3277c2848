import { mapInTurns } from '../../base/turns.js';
import type { LanguageModel } from '../../model/language-model.js';
import { continuePrompts } from '../../model/requests/continue-prompts.js';
import type { Generation } from '../task.js';
import { Lane } from './lane.js';
import { PromptEncoder } from './prompts.js';
import type { RunOptions } from './run-options.js';

const MOST_TOKENS = 256;

/** A prompt to be continued once. */
export interface GenerationRequest {
  prompt: string;
  generation: Generation;
  /** The same seed gives the same text. */
  seed: number;
}

export interface GenerationResult {
  /** Which request. */
  index: number;
  text: string;
  /** Tokens generated. */
  tokens: number;
  /** Whether the prompt was too long and lost its beginning. */
  isCut: boolean;
}

/**
 * Continues each prompt until a stop string, an end-of-text token or `maxTokens`, see `continuePrompts`. Where a prompt and
 * `maxTokens` do not fit the model together, at most half of its positions are for the text, and the prompt loses its
 * beginning.
 *
 * Throws BAD_OPTION, BAD_TOKENIZER, LOSS_NOT_FINITE, ABORTED.
 */
export async function* generateTexts(
  model: LanguageModel,
  requests: readonly GenerationRequest[],
  options: RunOptions,
): AsyncGenerator<GenerationResult> {
  const encoder = new PromptEncoder(model.tokenizer);
  const { maxPositions } = model.config;
  const begin = ({ prompt, generation, seed }: GenerationRequest, index: number): Lane => {
    const tokens = encoder.encodePrompt(prompt);
    const maxTokens = Math.min(generation.maxTokens ?? MOST_TOKENS, Math.max(1, Math.floor(maxPositions / 2)));
    const kept = tokens.slice(-Math.max(1, maxPositions - maxTokens));
    return new Lane(model, { index, prompt: kept, maxTokens, isCut: kept.length < tokens.length, generation, seed });
  };
  const lanes = await mapInTurns(requests, begin, options.signal);
  for await (const { isDone, plan, text, tokens } of continuePrompts(model, lanes, options)) {
    if (isDone) yield { index: plan.index, text, tokens, isCut: plan.isCut };
  }
}
