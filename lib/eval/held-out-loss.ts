import { type Abortable, throwIfAborted } from '../base/errors.js';
import { expectOptions, type OptionNames } from '../base/options-check.js';
import { checkShape, heldOutBatches } from '../data/packing.js';
import type { TokenStream } from '../data/token-stream.js';
import type { LanguageModel } from '../model/language-model.js';

export interface HeldOutOptions extends Abortable {
  /** Default: 256, or what the model takes. */
  sequenceLength?: number;
  /** Default 8. */
  batchSize?: number;
  /** At most this many tokens of each domain; default all. */
  maxTokens?: number;
  onProgress?: (domain: string, tokens: number) => void;
}

export const HELD_OUT_OPTIONS: OptionNames<HeldOutOptions> = {
  sequenceLength: true,
  batchSize: true,
  maxTokens: true,
  signal: true,
  onProgress: true,
};

export interface HeldOutLoss {
  domain: string;
  /** Mean negative log-likelihood, nats per token. */
  loss: number;
  perplexity: number;
  /** Tokens predicted. */
  tokens: number;
}

/** A domain's name and its held-out text. */
export interface HeldOutDomain {
  name: string;
  heldOut: TokenStream;
}

/** The loss on each domain's held-out text. Throws BAD_DATA, BAD_OPTION, ABORTED. */
export async function heldOutLosses(
  model: LanguageModel,
  domains: readonly HeldOutDomain[],
  options: HeldOutOptions = {},
): Promise<HeldOutLoss[]> {
  expectOptions('heldOutLosses', options, HELD_OUT_OPTIONS);
  const { batchSize = 8, maxTokens = Number.POSITIVE_INFINITY, signal, onProgress } = options;
  const sequenceLength = options.sequenceLength ?? Math.min(256, model.config.maxPositions);
  checkShape({ sequenceLength, batchSize });
  model.expectPass({ batch: batchSize, tokens: sequenceLength });
  const results: HeldOutLoss[] = [];
  for (const { name, heldOut } of domains) {
    let total = 0;
    let tokens = 0;
    for await (const batch of heldOutBatches(heldOut, { sequenceLength, batchSize, maxTokens })) {
      throwIfAborted(signal, 'the evaluation');
      const losses = await model.losses(batch);
      for (const [i, loss] of losses.entries()) {
        if (batch.targets[i]! < 0) continue;
        total += loss;
        tokens++;
      }
      onProgress?.(name, tokens);
    }
    results.push({ domain: name, loss: total / tokens, perplexity: Math.exp(total / tokens), tokens });
  }
  return results;
}

/** The mean of the domains' losses, every domain counting the same. */
export function meanLoss(losses: readonly HeldOutLoss[]): number {
  return losses.reduce((sum, { loss }) => sum + loss, 0) / losses.length;
}
