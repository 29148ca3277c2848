import type { z } from 'zod';
import type { Abortable } from '../base/errors.js';
import { checkOptions, type OptionNames } from '../base/options-check.js';
import { count, flag, seed } from '../base/schema.js';
import { batchSize } from '../data/batch-options.js';
import type { LanguageModel } from '../model/language-model.js';
import type { DataFolder } from './data/data-folder.js';
import type { Column } from './registry.js';
import { type ColumnResult, columnResult } from './results/columns.js';
import { SampleFile } from './results/sample-file.js';
import { runTask, type TaskResult } from './run/run-task.js';
import { Sandbox } from './sandbox/sandbox.js';
import type { Task } from './task.js';

export const evaluateOptions = {
  /** Documents of each task, the first; default all. */
  limit: count().optional().meta({ description: 'Documents of each benchmark, the first (default: all)' }),
  /** Of sampling; default 0. */
  seed: seed().meta({ description: 'The same seed gives the same sampled texts' }),
  /** Sequences that are computed together; default 8. */
  batchSize: batchSize(),
  /** Whether what prompts have in common is computed once; default true. */
  sharePrefixes: flag().default(true).meta({
    description: 'Compute what prompts have in common each time anew: slower, the same results',
  }),
};

export interface EvaluateOptions extends z.input<z.ZodObject<typeof evaluateOptions>>, Abortable {
  /** Where the benchmarks lie. */
  data: DataFolder;
  /** Answered examples before each question; default the tasks' own. */
  shots?: (task: Task) => number;
  /** Runs programs that the model writes; default one of this system's, opened where a task needs it. */
  sandbox?: Sandbox | undefined;
  /** Where samples are kept, and found again: the file of a task, and a hash of the model that wrote them. */
  samples?: { path: (task: Task) => string; modelHash: string } | undefined;
  /** Documents that were answered, of all tasks together. */
  onProgress?: (documents: number, task: string) => void;
}

const OTHERS: OptionNames<Omit<EvaluateOptions, keyof typeof evaluateOptions>> = {
  data: true,
  shots: true,
  sandbox: true,
  samples: true,
  onProgress: true,
  signal: true,
};

/** What one model reached. */
export interface Evaluation {
  /** A value for each column that was asked for, a task or a group. */
  columns: ColumnResult[];
  /** What each task reached, with all samples. */
  tasks: TaskResult[];
}

/** The tasks of columns, each once. */
export function tasksOf(columns: readonly Column[]): Task[] {
  return [...new Map(columns.flatMap(({ tasks }) => tasks).map((task) => [task.name, task])).values()];
}

/**
 * Scores a model on benchmarks:
 *
 *     const data = new DataFolder('benchmarks');
 *     const { columns } = await evaluate(model, resolveTasks(['mmlu', 'gsm8k']), { data, limit: 100 });
 *     for (const { name, value, standardError } of columns) console.log(name, value, standardError);
 *
 * Throws FILE_NOT_FOUND for missing data, BAD_DATA, BAD_OPTION, NO_SANDBOX, LOSS_NOT_FINITE, ABORTED.
 *
 * @param columns what `resolveTasks` made of names
 */
export async function evaluate(
  model: LanguageModel,
  columns: readonly Column[],
  options: EvaluateOptions,
): Promise<Evaluation> {
  const checked = checkOptions('evaluate', evaluateOptions, options, OTHERS);
  const { limit, seed, batchSize, sharePrefixes, data, samples, onProgress, signal } = checked;
  const tasks = tasksOf(columns);
  const sandbox = options.sandbox ?? (tasks.some((task) => task.runsCode) ? await Sandbox.open({ signal }) : undefined);
  const results = new Map<string, TaskResult>();
  let before = 0;
  for (const task of tasks) {
    await using store = samples && new SampleFile(samples.path(task));
    const result = await runTask(model, task, {
      ...{ data, limit, seed, batchSize, sharePrefixes, sandbox, store, signal },
      shots: options.shots?.(task),
      modelHash: samples?.modelHash ?? '',
      onProgress: (done) => onProgress?.(before + done, task.name),
    });
    before += result.documents;
    results.set(task.name, result);
  }
  const found = columns.flatMap((column) => columnResult(column, results) ?? []);
  return { columns: found, tasks: [...results.values()] };
}
