import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { choice, flag } from '../../base/schema.js';
import { SEQUENCE_LENGTH } from '../../data/batch-options.js';
import { checkShape } from '../../data/packing.js';
import { heldOutLosses, heldOutOptions } from '../../eval/held-out-loss.js';
import { switchingLoss } from '../../eval/switching.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel, readModelConfig } from '../../model/load-model.js';
import type { QuantizeOptions } from '../../model/transformer/quantization.js';
import { note, print, printJson } from '../../terminal/output.js';
import { Progress } from '../../terminal/progress.js';
import { type OpenDomains, openDomainsTogether } from '../options/domains.js';
import { openRanks, type Ranks } from '../options/ranks.js';
import type { DeviceValues, DomainValues } from '../options/training-options.js';
import { lossTable, type ModelLosses } from '../results.js';

/** How the loss on texts is measured. */
export const lossOptions = {
  split: choice(['held-out', 'all']).default('held-out').meta({
    description: 'The part of the text that training with the same options set aside, or all of it',
  }),
  sequenceLength: heldOutOptions.sequenceLength.meta({
    description: `Tokens in a sequence (default: ${SEQUENCE_LENGTH}, or what all models take)`,
  }),
  switching: flag().default(false).meta({
    description: 'Also the loss on sequences that switch from one of the domains to another in the middle',
  }),
  maxTokens: heldOutOptions.maxTokens,
};
const losses = z.object(lossOptions);
type Values = z.output<typeof losses> &
  DomainValues &
  DeviceValues &
  QuantizeOptions & { batchSize: number; verify: boolean };

/** Prints loss and perplexity of models on the texts of domains. */
export async function evaluateLosses(
  folders: readonly string[],
  values: Values,
  { json, markdown = false }: { json?: boolean; markdown?: boolean },
  signal: AbortSignal,
): Promise<void> {
  if (values.switching && Object.keys(values.domain).length < 2) {
    throw new BtsError('BAD_OPTION', '--switching is about texts that switch between domains: name two with --domain.');
  }
  // All folders are looked at first: hours of evaluation must not end in a mistyped path.
  const sequenceLength = await commonLength(folders, values);
  using ranks = await openRanks('eval', values);
  const texts = new Map<string, OpenDomains>();
  const rows: ModelLosses[] = [];
  try {
    for (const folder of folders) {
      using model = await loadModel(ranks.device, folder, {
        members: values.members,
        quantize: values.quantize,
        verify: values.verify,
        signal,
      });
      checkShape({ sequenceLength, batchSize: values.batchSize });
      model.expectPass({ batch: values.batchSize, tokens: sequenceLength });
      const { hash } = model.tokenizer;
      const domains = texts.get(hash) ?? (await openTexts(ranks, values, model, signal));
      texts.set(hash, domains);
      rows.push({
        model: folder,
        ...(await evaluate(ranks, { model, folder, domains }, { ...values, sequenceLength }, signal)),
      });
    }
  } finally {
    for (const domains of texts.values()) await domains[Symbol.asyncDispose]();
  }
  if (json) {
    printJson({ split: values.split, sequenceLength, models: rows });
    return;
  }
  const comparable = texts.size === 1;
  print(lossTable(rows, { markdown, perplexity: true, comparable }));
  if (!comparable) note('These models have different tokenizers: their losses per token cannot be compared.');
}

/** The sequence length for all models, since a loss depends on it. Throws BAD_OPTION, and what reading them throws. */
async function commonLength(folders: readonly string[], { sequenceLength }: Values): Promise<number> {
  let length = sequenceLength ?? SEQUENCE_LENGTH;
  for (const folder of folders) {
    const { maxPositions } = await readModelConfig(folder);
    if (sequenceLength !== undefined && sequenceLength > maxPositions) {
      const message = `--sequence-length ${sequenceLength} is more than the ${maxPositions} positions of '${folder}'.`;
      throw new BtsError('BAD_OPTION', message);
    }
    length = Math.min(length, maxPositions);
  }
  return length;
}

function openTexts(
  ranks: Ranks,
  values: Values,
  { tokenizer }: LanguageModel,
  signal: AbortSignal,
): Promise<OpenDomains> {
  const heldOutFraction = values.split === 'all' ? 0 : values.heldOutFraction;
  return openDomainsTogether(ranks, { ...values, heldOutFraction }, tokenizer, signal);
}

async function evaluate(
  { communicator }: Ranks,
  { model, folder, domains: { all } }: { model: LanguageModel; folder: string; domains: OpenDomains },
  { split, sequenceLength, batchSize, maxTokens, switching }: Values & { sequenceLength: number },
  signal: AbortSignal,
): Promise<Omit<ModelLosses, 'model'>> {
  const progress = new Progress(`evaluating ${folder}`);
  const streams = all.map(({ name, train, heldOut }) => ({ name, heldOut: split === 'all' ? train : heldOut }));
  const options = {
    ...{ sequenceLength, batchSize, maxTokens, signal, communicator },
    onProgress: (domain: string, tokens: number) => progress.update(tokens, [`tokens of ${domain}`]),
  };
  try {
    const losses = await heldOutLosses(model, streams, options);
    const found = switching ? { losses, switching: await switchingLoss(model, streams, options) } : { losses };
    progress.done(`evaluated ${folder}`);
    return found;
  } finally {
    progress.done();
  }
}
