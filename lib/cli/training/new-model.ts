import { join } from 'node:path';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { readJson } from '../../base/file.js';
import { count, flag, folder, text } from '../../base/schema.js';
import { type ModelConfig, parseConfig } from '../../checkpoint/config.js';
import { readDocuments } from '../../data/documents.js';
import { Tokenizer } from '../../data/tokenizer.js';
import { trainTokenizer, trainTokenizerOptions } from '../../data/train-tokenizer.js';
import { Progress } from '../../terminal/progress.js';
import { trainingFolder } from '../../train/checkpoint.js';
import { present } from '../options/options.js';
import type { TrainingValues } from '../options/training-options.js';

/** The shape of a model that is trained from scratch. */
export const newModelOptions = {
  configModel: text('a file').optional().meta({
    description: "Hugging Face's config.json of the new model; the options below win over what it says",
    argument: 'file',
  }),
  width: count().optional().meta({ description: 'Width of the hidden states' }),
  layers: count().optional().meta({ description: 'Layers' }),
  heads: count().optional().meta({ description: 'Query heads of a layer' }),
  keyValueHeads: count()
    .optional()
    .meta({ description: 'Key/value heads of a layer (default: as many as query heads)' }),
  feedForwardWidth: count().optional().meta({ description: 'Width inside the feed-forward part (default: 8/3 width)' }),
  maxPositions: count().optional().meta({
    description: 'Longest sequence that the model takes (default: --sequence-length)',
  }),
  tied: flag().optional().meta({ description: 'The embeddings are the output weights, too' }),
  tokenizer: folder().optional().meta({ description: 'Folder with a tokenizer.json', argument: 'folder' }),
  trainTokenizer: trainTokenizerOptions.vocabularySize.optional(),
};

const schema = z.object(newModelOptions);
export type NewModelValues = z.output<typeof schema>;

/** The folder of the new model's tokenizer. */
export function tokenizerFolder({ tokenizer, trainTokenizer, out }: NewModelValues & TrainingValues): string {
  return trainTokenizer === undefined ? tokenizer! : join(trainingFolder(out), 'tokenizer');
}

/** Trains the new model's tokenizer, if need be. Throws BAD_OPTION, BAD_DATA, FILE_IO, ABORTED. */
export async function newTokenizer(values: NewModelValues & TrainingValues, signal: AbortSignal): Promise<void> {
  const { trainTokenizer: vocabularySize } = values;
  if (vocabularySize === undefined) return;
  const folder = tokenizerFolder(values);
  const progress = new Progress('training a tokenizer');
  try {
    const trained = await trainTokenizer(texts(values, signal), { vocabularySize, signal });
    await trained.save(folder);
    progress.done(`tokenizer: ${trained.vocabularySize} tokens, in '${folder}'`);
  } finally {
    progress.done();
  }
}

async function* texts(values: TrainingValues, signal: AbortSignal): AsyncGenerator<string> {
  const { documents, textField } = values;
  for (const paths of Object.values(values.domain)) {
    for await (const { text } of readDocuments(paths, { documents, textField, signal })) yield text;
  }
}

/**
 * The new model's configuration; what neither the file nor the options say is Llama's, and follows from the tokenizer (of
 * which a dry run may know the size alone). Throws BAD_OPTION, BAD_CONFIG, FILE_NOT_FOUND.
 */
export async function newConfig(
  values: NewModelValues & Pick<TrainingValues, 'sequenceLength'>,
  tokenizer: Pick<Tokenizer, 'vocabularySize' | 'bosToken' | 'eosToken'>,
): Promise<ModelConfig> {
  const { configModel, width, layers, heads, keyValueHeads, feedForwardWidth, maxPositions, tied } = values;
  const file = configModel === undefined ? {} : await readJson(configModel, 'BAD_CONFIG');
  if (typeof file !== 'object' || file === null) throw new BtsError('BAD_CONFIG', `'${configModel}' holds no object.`);
  const given = present({
    hidden_size: width,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    intermediate_size: feedForwardWidth ?? (width && roundUp((8 / 3) * width, 32)),
    max_position_embeddings: maxPositions,
    tie_word_embeddings: tied,
  });
  const base = {
    model_type: 'llama',
    max_position_embeddings: values.sequenceLength,
    vocab_size: tokenizer.vocabularySize,
    bos_token_id: tokenizer.bosToken,
    eos_token_id: tokenizer.eosToken,
  };
  return parseConfig({ ...base, ...file, ...given }, configModel ?? 'the new model');
}

/** Throws BAD_OPTION unless the options describe a new model wholly and once. */
export function checkNewModel(values: NewModelValues): void {
  const fail = (reason: string) => new BtsError('BAD_OPTION', reason);
  if (values.configModel === undefined) {
    const missing = (['width', 'layers', 'heads'] as const).filter((name) => values[name] === undefined);
    if (missing.length > 0) {
      throw fail(
        'say what to train: --from FOLDER for an existing model; for a new one --config-model FILE, or ' +
          `--width, --layers and --heads (${missing.map((name) => `--${name}`).join(', ')} missing).`,
      );
    }
  }
  if ((values.tokenizer === undefined) === (values.trainTokenizer === undefined)) {
    throw fail('a new model takes either --tokenizer FOLDER or --train-tokenizer TOKENS.');
  }
}

/** Loads the tokenizer of a new model, or stands in for one that a dry run must not train. */
export async function tokenizerToBe({ tokenizer, trainTokenizer: vocabularySize }: NewModelValues) {
  if (vocabularySize !== undefined) return { vocabularySize, bosToken: 0, eosToken: 0 };
  return await Tokenizer.load(tokenizer!);
}

const roundUp = (value: number, step: number) => Math.ceil(value / step) * step;
