import type { z } from 'zod';
import { type Abortable, throwIfAborted } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options-check.js';
import { count } from '../base/schema.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { heldOutBatchOptions, SEQUENCE_LENGTH } from '../data/batch-options.js';
import { checkShape, type HeldOutBatchOptions, IGNORED } from '../data/packing.js';
import type { TokenStream } from '../data/token-stream.js';
import type { LanguageModel } from '../model/language-model.js';
import { Communicator } from '../tensor/communicator.js';
import { together } from '../tensor/together.js';
import { sharedBatches } from './shared-batches.js';

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
  /** Of the processes that share the batches out, and all call with the same model, text and options. The numbers are what one alone finds. */
  communicator?: Communicator | undefined;
}

const OTHERS: OptionNames<Omit<HeldOutOptions, keyof typeof heldOutOptions>> = {
  signal: true,
  communicator: true,
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
  const { communicator = Communicator.alone(model.device) } = checked;
  checkShape({ sequenceLength, batchSize });
  model.expectPass({ batch: batchSize, tokens: sequenceLength });
  const texts = domains.map(({ heldOut }) => heldOut);
  const work = async () => {
    const sums: [text: number, sum: string, tokens: number][] = [];
    const shared = sharedBatches(texts, { sequenceLength, batchSize, maxTokens }, communicator);
    for await (const { batch, text, targets } of shared) {
      throwIfAborted(signal, 'the evaluation');
      const losses = (await model.losses(batch)).filter((_, i) => batch.targets[i] !== IGNORED);
      // As text: JSON has no NaN.
      sums.push([text, `${losses.reduce((sum, loss) => sum + loss, 0)}`, losses.length]);
      onProgress?.(domains[text]!.name, targets);
    }
    return sums;
  };
  const shares = await together(communicator, work, { entangled: model.spread !== undefined });
  return domains.map(({ name }, d) => {
    const own = inOrder(shares).filter(([text]) => text === d);
    const tokens = own.reduce((sum, [, , tokens]) => sum + tokens, 0);
    const loss = own.reduce((sum, [, part]) => sum + Number(part), 0) / tokens;
    return { domain: name, loss, perplexity: Math.exp(loss), tokens };
  });
}

/** What was dealt out in turn, so that sums are rounded alike whoever computed their parts. */
function inOrder<Part>(shares: readonly Part[][]): Part[] {
  const count = shares.reduce((sum, { length }) => sum + length, 0);
  return Array.from({ length: count }, (_, i) => shares[i % shares.length]![Math.floor(i / shares.length)]!);
}

/** The mean of the domains' losses, every domain counting the same. */
export function meanLoss(losses: readonly HeldOutLoss[]): number {
  return losses.reduce((sum, { loss }) => sum + loss, 0) / losses.length;
}
