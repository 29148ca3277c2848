import { join } from 'node:path';
import type { z } from 'zod';
import { type Abortable, BtsError } from '../base/errors.js';
import { exists } from '../base/file.js';
import { lockFolder } from '../base/lock.js';
import { parseOptions } from '../base/options-check.js';
import { integer, positive } from '../base/schema.js';
import type { ModelConfig } from '../checkpoint/config.js';
import { llamaConfig } from '../checkpoint/families/llama.js';
import { readDocuments } from '../data/documents.js';
import { Mixture } from '../data/mixture.js';
import { type DomainTokens, prepareTokens } from '../data/token-shards.js';
import { Tokenizer } from '../data/tokenizer.js';
import { trainTokenizer } from '../data/train-tokenizer.js';
import { type HeldOutLoss, heldOutLosses } from '../eval/held-out-loss.js';
import { DenseModel } from '../model/dense-model.js';
import type { LanguageModel } from '../model/language-model.js';
import { loadModel } from '../model/load-model.js';
import { StitchedModel } from '../model/stitched-model.js';
import type { Device } from '../tensor/device.js';
import { newestCheckpoint, trainingFolder } from '../train/checkpoint.js';
import type { TrainEvent } from '../train/events.js';
import { train } from '../train/trainer.js';
import { collectTexts, DOMAINS, type DomainName } from './texts/texts.js';

/** The domain that the seed mostly reads; each of the others gets an expert. */
const GENERAL = 'prose';

/** Sizes for about two minutes on two quiet cores. */
const MODEL = { width: 128, layers: 6, feedForwardWidth: 344, heads: 4, keyValueHeads: 2, vocabulary: 2048 };
const SEQUENCE = 256;
const BATCH = 8;
const STITCHES = 3;
const SEED = { steps: 360, learningRate: 3e-3 };
const EXPERT = { steps: 120, learningRate: 1.5e-3 };
const STITCH = { steps: 100, learningRate: 3e-3 };
const HELD_OUT_TOKENS = 32_768;

export const quickstartOptions = {
  /** Multiplies all numbers of steps; default 1. */
  effort: positive(1000).default(1).meta({
    description: 'Multiplies the steps of training: 0.1 for a glance, 4 for better models',
  }),
  /** Default 1. */
  seed: integer(0, 1e9).default(1).meta({ description: 'Of all random choices' }),
};

export interface QuickstartOptions extends z.input<z.ZodObject<typeof quickstartOptions>>, Abortable {
  /** Where everything goes; what is finished there is not done again. */
  folder: string;
  /** The user's texts in place of those collected, by domain name. */
  domains: Readonly<Record<string, readonly string[]>>;
}

export type QuickstartEvent =
  | { type: 'texts'; sources: { name: string; sources: string }[] }
  | { type: 'phase'; name: string; steps: number }
  | { type: 'kept'; name: string }
  | { type: 'train'; name: string; event: TrainEvent }
  | { type: 'stopped'; name: string }
  | { type: 'result'; rows: { model: string; losses: HeldOutLoss[] }[] }
  | { type: 'sample'; prompt: string; text: string };

/**
 * The whole method in small: a tokenizer and a seed model from scratch, an expert for each domain branched from the seed,
 * all stitched into one, and everybody's loss on held-out text. Experts keep the seed's embeddings, final norm and head,
 * so that the hub can read what they say.
 */
export async function* quickstart(device: Device, options: QuickstartOptions): AsyncGenerator<QuickstartEvent, void> {
  const { effort, seed } = parseOptions(quickstartOptions, options);
  const { folder, signal } = options;
  await using _lock = await lockFolder(folder);
  const texts = await findTexts(options);
  yield { type: 'texts', sources: texts };
  const tokenizerFolder = join(folder, 'tokenizer');
  await makeTokenizer(tokenizerFolder, texts, signal);
  const tokenizer = await Tokenizer.load(tokenizerFolder);

  const domains: DomainTokens[] = [];
  try {
    for (const { name, paths } of texts) {
      domains.push(await prepareTokens({ name, paths, tokenizer, cacheFolder: join(folder, 'tokens'), signal }));
    }
    yield* branchTrainStitch(device, { folder, effort, seed, signal }, { tokenizer, tokenizerFolder, texts, domains });
  } finally {
    for (const domain of domains) await domain.dispose();
  }
}

/** The options, checked, of the part that trains. */
interface Run extends z.output<z.ZodObject<typeof quickstartOptions>>, Abortable {
  folder: string;
}

interface Prepared {
  tokenizer: Tokenizer;
  tokenizerFolder: string;
  texts: readonly Text[];
  domains: readonly DomainTokens[];
}

async function* branchTrainStitch(
  device: Device,
  { folder, signal, seed, effort }: Run,
  { tokenizer, tokenizerFolder, texts, domains }: Prepared,
): AsyncGenerator<QuickstartEvent, void> {
  const general = domains.find(({ name }) => name === GENERAL)?.name ?? domains[0]!.name;
  const expertNames = domains.map(({ name }) => name).filter((name) => name !== general);
  const mixture = (weight: (name: string) => number, stream: number) =>
    new Mixture(
      domains.map(({ name, train }) => ({ name, tokens: train, weight: weight(name) })),
      { sequenceLength: SEQUENCE, batchSize: BATCH, seed: seed * 100 + stream },
    );

  /** Trains into `folder/name`, or goes on with it, or leaves it as it is if it is finished. */
  async function* phase(name: string, make: Phase): AsyncGenerator<QuickstartEvent, boolean> {
    const target = join(folder, name);
    if (await exists(target)) {
      yield { type: 'kept', name };
      return true;
    }
    const steps = Math.max(1, Math.round(make.steps * effort));
    yield { type: 'phase', name, steps };
    const resume = await newestCheckpoint(trainingFolder(target));
    using model = resume ? await make.load(resume) : await make.create();
    const run = train(model, make.data, {
      folder: target,
      steps,
      learningRate: make.learningRate,
      checkpointEvery: 100,
      keep: 1,
      resume,
      signal,
    });
    for await (const event of run) {
      yield { type: 'train', name, event };
      if (event.type === 'stopped') return false;
    }
    return true;
  }

  const seedFolder = join(folder, 'seed');
  const expertFolders = Object.fromEntries(expertNames.map((name) => [name, join(folder, 'experts', name)]));
  const phases: [string, Phase][] = [
    [
      'seed',
      {
        ...SEED,
        data: mixture((name) => (name === general ? 0.7 : 0.3 / expertNames.length), 0),
        create: () => DenseModel.create(device, modelConfig(tokenizer), tokenizerFolder, seed),
        load: (checkpoint) => DenseModel.load(device, checkpoint, { trainable: true }),
      },
    ],
    ...expertNames.map((name, index): [string, Phase] => {
      const load = (from: string) => DenseModel.load(device, from, { trainable: true, freeze: ['embeddings', 'head'] });
      const data = mixture((domain) => (domain === name ? 1 : 0), index + 1);
      return [`experts/${name}`, { ...EXPERT, data, create: () => load(seedFolder), load }];
    }),
    [
      'generalist',
      {
        ...STITCH,
        data: mixture(() => 1, 99),
        create: () => StitchedModel.create(device, { hub: seedFolder, experts: expertFolders, stitches: STITCHES }),
        load: (checkpoint) => StitchedModel.load(device, checkpoint, { trainable: true }),
      },
    ],
  ];
  for (const [name, make] of phases) {
    if (!(yield* phase(name, make))) {
      yield { type: 'stopped', name };
      return;
    }
  }

  const rows: { model: string; losses: HeldOutLoss[] }[] = [];
  const models = { seed: seedFolder, ...expertFolders, generalist: join(folder, 'generalist') };
  for (const [name, path] of Object.entries(models)) {
    using model = await loadModel(device, path);
    const evaluation = { sequenceLength: SEQUENCE, maxTokens: HELD_OUT_TOKENS, signal };
    rows.push({ model: name, losses: await heldOutLosses(model, domains, evaluation) });
    if (name !== 'generalist') continue;
    yield { type: 'result', rows };
    for (const { name: domain, paths } of texts) yield await sample(model, await opening(domain, paths), seed);
  }
}

interface Phase {
  steps: number;
  learningRate: number;
  data: Mixture;
  create: () => Promise<LanguageModel>;
  load: (checkpoint: string) => Promise<LanguageModel>;
}

interface Text {
  name: string;
  paths: readonly string[];
  sources: string;
}

async function findTexts({ folder, domains, signal }: QuickstartOptions): Promise<Text[]> {
  const given = Object.entries(domains).map(([name, paths]) => ({ name, paths, sources: paths.join(', ') }));
  const own = new Set(given.map(({ name }) => name));
  // Somebody who brings two domains or more has said what they want; one is taken in place of its namesake.
  const missing = given.length >= 2 ? [] : DOMAINS.filter((name) => !own.has(name));
  if (missing.length === 0) return given;
  const saved = join(folder, 'texts');
  const collected = await collectTexts(saved, { domains: missing as DomainName[], signal });
  return [...given, ...collected.map(({ name, path, sources }) => ({ name, paths: [path], sources }))];
}

async function makeTokenizer(folder: string, texts: readonly Text[], signal: AbortSignal | undefined): Promise<void> {
  if (await exists(join(folder, 'tokenizer.json'))) return;
  const paths = texts.flatMap(({ paths }) => paths);
  async function* all(): AsyncGenerator<string> {
    for await (const { text } of readDocuments(paths)) yield text;
  }
  const trained = await trainTokenizer(all(), { vocabularySize: MODEL.vocabulary, signal });
  await trained.save(folder);
}

function modelConfig(tokenizer: Tokenizer): ModelConfig {
  const { vocabulary: _, ...shape } = MODEL;
  return llamaConfig({
    ...shape,
    vocabularySize: tokenizer.vocabularySize,
    maxPositions: 1024,
    bosToken: tokenizer.bosToken,
    eosTokens: [...tokenizer.stopTokens],
  });
}

/** The first words of a domain's first document, to be continued. */
async function opening(domain: string, paths: readonly string[]): Promise<string> {
  for await (const { text } of readDocuments([...paths]))
    return text
      .trimStart()
      .slice(0, 80)
      .replace(/\s+\S*$/, '');
  throw new BtsError('BAD_DATA', `the domain '${domain}' has no text left in ${paths.join(', ')}.`);
}

async function sample(model: LanguageModel, prompt: string, seed: number): Promise<QuickstartEvent> {
  let text = '';
  const options = { maxTokens: 60, temperature: 0.7, topP: 0.9, seed };
  for await (const token of model.generate(prompt, options)) text += token.text;
  return { type: 'sample', prompt, text };
}
