import { mapInTurns } from '../../base/turns.js';
import { emptyBatch, IGNORED } from '../../data/packing.js';
import { padded } from '../../model/decoding/padding.js';
import type { LanguageModel } from '../../model/language-model.js';
import { PromptEncoder } from './prompts.js';
import { badRequest, expectRunning, type RunOptions } from './run-options.js';

/** Tokens to be predicted, each from those before it. */
interface Window {
  text: number;
  inputs: number[];
  /** As many as inputs; negative where nothing is asked. */
  targets: number[];
}

export interface TextResult {
  index: number;
  /** Sum over all tokens, in nats. */
  logProbability: number;
}

/**
 * The log-probability of each text as a whole. Texts longer than the model takes are read in windows: every token is predicted
 * once, from as many before it as fit (lm-eval's `loglikelihood_rolling`).
 *
 * Throws BAD_DATA for a text without tokens, which would be certain; BAD_TOKENIZER, ABORTED.
 */
export async function* scoreTexts(
  model: LanguageModel,
  texts: readonly string[],
  options: RunOptions,
): AsyncGenerator<TextResult> {
  const { batchSize, signal } = options;
  const encoder = new PromptEncoder(model.tokenizer);
  const { maxPositions } = model.config;
  const cut = (text: string, index: number) => {
    const tokens = encoder.encodeText(text);
    if (tokens.length === 0) throw badRequest(index, options, 'the text is empty: there is nothing to score.');
    return cutWindows(tokens, encoder.prefixToken, maxPositions).map((window) => ({ ...window, text: index }));
  };
  const windows = (await mapInTurns(texts, cut, signal)).flat();
  const sums = texts.map(() => 0);
  const open = texts.map(() => 0);
  for (const { text } of windows) open[text]!++;

  const order = windows.sort((a, b) => b.inputs.length - a.inputs.length || a.text - b.text);
  for (let first = 0; first < order.length; first += batchSize) {
    expectRunning(signal);
    const batch = order.slice(first, first + batchSize);
    const tokens = Math.min(maxPositions, padded(model.device, batch[0]!.inputs.length));
    const rows = emptyBatch({ batchSize: batch.length, sequenceLength: tokens });
    for (const [b, window] of batch.entries()) {
      rows.inputs.set(window.inputs, b * tokens);
      rows.targets.set(window.targets, b * tokens);
    }
    const losses = await model.losses(rows);
    for (const [b, { text }] of batch.entries()) {
      for (let t = 0; t < tokens; t++) sums[text]! -= losses[b * tokens + t]!;
      if (--open[text]! === 0) yield { index: text, logProbability: sums[text]! };
    }
  }
}

function cutWindows(tokens: readonly number[], prefixToken: number, maxPositions: number): Omit<Window, 'text'>[] {
  const windows: Omit<Window, 'text'>[] = [];
  const all = [prefixToken, ...tokens];
  for (let predicted = 0; predicted < tokens.length; ) {
    const end = Math.min(tokens.length, predicted + maxPositions);
    const start = predicted === 0 ? 0 : Math.max(0, end - maxPositions);
    const inputs = all.slice(start, end);
    const targets = tokens.slice(start, end).map((token, i) => (start + i < predicted ? IGNORED : token));
    windows.push({ inputs, targets });
    predicted = end;
  }
  return windows;
}
