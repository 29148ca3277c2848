import type { z } from 'zod';
import { type Abortable, throwIfAborted } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options-check.js';
import { count } from '../base/schema.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { heldOutBatchOptions, SEQUENCE_LENGTH } from '../data/batch-options.js';
import { checkShape, type HeldOutBatchOptions, heldOutBatches } from '../data/packing.js';
import type { TokenStream } from '../data/token-stream.js';
import type { LanguageModel } from '../model/language-model.js';

/** How held-out text is looked at. */
export const lengthOptions = {
  /** Default: 256, or what the model takes. */
  sequenceLength: count()
    .optional()
    .meta({ description: `Tokens in a sequence (default: ${SEQUENCE_LENGTH}, or what the model takes)` }),
};

export const heldOutOptions = { ...heldOutBatchOptions, ...lengthOptions };

export interface HeldOutOptions
  extends z.input<z.ZodObject<typeof lengthOptions>>,
    Omit<HeldOutBatchOptions, keyof typeof lengthOptions>,
    Abortable {
  /** The tokens of a domain that were looked at. */
  onProgress?: (domain: string, tokens: number) => void;
}

const OTHERS: OptionNames<Omit<HeldOutOptions, keyof typeof heldOutOptions>> = {
  signal: true,
  onProgress: true,
};

/** Fills in defaults. Throws BAD_OPTION; `where` is what callers know the function by. */
export const checkHeldOutOptions = (where: string, options: HeldOutOptions) =>
  checkOptions(where, heldOutOptions, options, OTHERS);

/** The length of sequences where nothing is said: the usual one, or what the model takes. */
export const usualLength = ({ maxPositions }: Pick<ModelConfig, 'maxPositions'>) =>
  Math.min(SEQUENCE_LENGTH, maxPositions);

/** A model's loss on a domain. */
export interface HeldOutLoss {
  /** The domain's name. */
  domain: string;
  /** Mean negative log-likelihood, nats per token. */
  loss: number;
  /** `exp(loss)`. */
  perplexity: number;
  /** Tokens predicted. */
  tokens: number;
}

/** A domain's name and its held-out text. */
export interface HeldOutDomain {
  /** For results and errors. */
  name: string;
  /** What training set aside. */
  heldOut: TokenStream;
}

/**
 * The loss on each domain's held-out text. Throws BAD_DATA, BAD_OPTION, ABORTED.
 *
 * @param domains names and held-out text
 */
export async function heldOutLosses(
  model: LanguageModel,
  domains: readonly HeldOutDomain[],
  options: HeldOutOptions = {},
): Promise<HeldOutLoss[]> {
  const checked = checkHeldOutOptions('heldOutLosses', options);
  const { sequenceLength = usualLength(model.config), batchSize, maxTokens, signal, onProgress } = checked;
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
