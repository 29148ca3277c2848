import { createHash } from 'node:crypto';
import { hash32, hashName } from '../../base/random.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { DataFolder } from '../data/data-folder.js';
import { buildContexts, continuations } from '../prompt.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import type { Answer, Metric, Outcome, Response, Task } from '../task.js';
import { scoreChoices } from './choices.js';
import { type GenerationRequest, generateTexts } from './generations.js';
import { expectRunning, type RunOptions } from './run-options.js';
import { scoreTexts } from './texts.js';

/** One document's way through a model. */
export interface Sample extends Outcome {
  /** Its number, from 0. */
  document: number;
  /** Of all that decides the response: model, task, prompt, seed. */
  hash: string;
  /** What the model was asked, examples included. */
  prompt: string;
  /** What is right. */
  target: Answer;
  /** What the model answered. */
  response: Response;
  /** Whether the prompt was too long for the model and lost its beginning. */
  isCut: boolean;
}

export interface TaskOptions extends RunOptions {
  data: DataFolder;
  /** Default: the task's. */
  shots?: number | undefined;
  /** At most this many documents, the first. */
  limit?: number | undefined;
  /** Of sampling; the same seed gives the same texts. */
  seed: number;
  /** Runs generated programs; needed by tasks with `runsCode`. */
  sandbox?: Sandbox | undefined;
  /** Names the model in the samples' hashes. */
  modelHash?: string;
  /** Where samples are kept: those that are there already are not computed again. */
  store?: SampleStore | undefined;
  /** Documents answered, and to answer. */
  onProgress?: (done: number, total: number) => void;
}

/** Keeps samples as they come. */
export interface SampleStore {
  /** The samples of these documents that were kept earlier, by document; others are forgotten. */
  open(hashes: readonly string[]): Promise<ReadonlyMap<number, Sample>>;
  append(sample: Sample): Promise<void>;
}

/** A metric over all documents of a task. */
export interface MetricResult {
  /** The metric, and the filter that answers went through: `exact_match,none`. */
  key: string;
  /** Over all documents. */
  value: number;
  /** Null where there is no estimate of it. */
  standardError: number | null;
  /** Whether more of it is better. */
  higherIsBetter: boolean;
  /** What tables multiply value and error with. */
  scale: number;
}

/** What a model reached in a task. */
export interface TaskResult {
  /** The task's name. */
  task: string;
  /** Of the task: scores of two versions are not comparable. */
  version: number;
  /** Answered examples before each question. */
  shots: number;
  /** How many were answered. */
  documents: number;
  /** Prompts that lost their beginning. */
  cut: number;
  /** The first is the one in tables. */
  metrics: MetricResult[];
  /** By document. */
  samples: Sample[];
}

/** Answers a task with a model. Throws what reading its documents throws, BAD_DATA, LOSS_NOT_FINITE, ABORTED. */
export async function runTask(model: LanguageModel, task: Task, options: TaskOptions): Promise<TaskResult> {
  const { data, limit, store, onProgress } = options;
  const shots = options.shots ?? task.shots;
  expectRunning(options.signal);
  const all = await task.documents(data);
  expectRunning(options.signal);
  const documents = all.slice(0, limit);
  const pool = shots > 0 && task.examples ? await task.examples(data) : all;
  const prompts = task.kind === 'text' ? documents.map(task.question) : buildContexts(task, documents, pool, shots);
  const hashes = documents.map((doc, i) => hashSample(task, doc, prompts[i]!, i, options));

  const samples: Sample[] = new Array(documents.length);
  for (const [i, sample] of (await store?.open(hashes)) ?? []) samples[i] = sample;
  const pending = [...documents.keys()].filter((i) => !samples[i]);
  let done = documents.length - pending.length;
  onProgress?.(done, documents.length);

  const keep = async ({ at, response, isCut }: Answered) => {
    const document = pending[at]!;
    const doc = documents[document];
    const outcome = await task.score(doc, response, { sandbox: options.sandbox!, signal: options.signal });
    const target = task.answer(doc);
    const [prompt, hash] = [prompts[document]!, hashes[document]!];
    samples[document] = { document, hash, prompt, target, response, isCut, ...outcome };
    await store?.append(samples[document]!);
    onProgress?.(++done, documents.length);
  };
  // Programs run while the model goes on.
  const scoring: Promise<void>[] = [];
  for await (const answered of answer(model, task, pending, documents, prompts, options)) {
    const kept = keep(answered);
    kept.catch(() => {});
    scoring.push(kept);
    if (!task.runsCode) await kept;
  }
  await Promise.all(scoring);
  return {
    task: task.name,
    version: task.version,
    shots,
    documents: documents.length,
    cut: samples.filter(({ isCut }) => isCut).length,
    metrics: samples.length > 0 ? task.metrics.map((metric) => measure(metric, samples)) : [],
    samples,
  };
}

function measure({ key, higherIsBetter, scale, aggregate }: Metric, samples: readonly Sample[]): MetricResult {
  return { key, ...aggregate(samples.map(({ items }) => items[key]!)), higherIsBetter, scale };
}

interface Answered {
  /** Which of the pending documents. */
  at: number;
  response: Response;
  isCut: boolean;
}

/** The responses to the pending documents, as they come. */
async function* answer(
  model: LanguageModel,
  task: Task,
  pending: readonly number[],
  documents: readonly unknown[],
  prompts: readonly string[],
  taskOptions: TaskOptions,
): AsyncGenerator<Answered> {
  const options = { ...taskOptions, nameOf: (at: number) => `document ${pending[at]} of '${task.name}'` };
  if (task.kind === 'choices') {
    const requests = pending.map((i) => ({ context: prompts[i]!, continuations: continuations(task, documents[i]) }));
    for await (const { index, scores, isCut } of scoreChoices(model, requests, options)) {
      yield { at: index, response: { choices: scores }, isCut };
    }
  } else if (task.kind === 'text') {
    const texts = pending.map((i) => prompts[i]!);
    for await (const { index, logProbability } of scoreTexts(model, texts, options)) {
      yield { at: index, response: { logProbability }, isCut: false };
    }
  } else {
    yield* generate(model, task, pending, prompts, options);
  }
}

async function* generate(
  model: LanguageModel,
  task: Task,
  pending: readonly number[],
  prompts: readonly string[],
  options: TaskOptions,
): AsyncGenerator<Answered> {
  const generation = task.generation!;
  const repeats = generation.repeats ?? 1;
  const requests = pending.flatMap((i) =>
    Array.from({ length: repeats }, (_, repeat): GenerationRequest => {
      const seed = hash32(options.seed, hashName(task.name), i, repeat);
      return { prompt: prompts[i]!, generation, seed };
    }),
  );
  const texts = pending.map(() => new Array<string>(repeats));
  const open = pending.map(() => repeats);
  for await (const { index, text, isCut } of generateTexts(model, requests, options)) {
    const at = Math.floor(index / repeats);
    texts[at]![index % repeats] = text;
    if (--open[at]! === 0) yield { at, response: { texts: texts[at]! }, isCut };
  }
}

/** Rises where the same prompt is asked in another way, so that samples kept earlier are not taken for answers to it. */
const REQUEST_VERSION = 2;

function hashSample(task: Task, doc: unknown, prompt: string, document: number, options: TaskOptions): string {
  const { name, version, kind, generation } = task;
  const asked = kind === 'choices' ? continuations(task, doc) : kind === 'generate' ? generation : null;
  const drawn = generation?.temperature ? [options.seed, document] : null;
  const content = [
    REQUEST_VERSION,
    options.modelHash ?? '',
    name,
    version,
    kind,
    prompt,
    asked,
    task.answer(doc),
    drawn,
  ];
  return createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, 16);
}
