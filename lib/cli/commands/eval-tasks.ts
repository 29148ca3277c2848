import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { lockFolder } from '../../base/lock.js';
import { commaList, flag, folder, positive, text } from '../../base/schema.js';
import { didYouMean } from '../../base/suggest.js';
import { DataFolder } from '../../eval/data/data-folder.js';
import { evaluate, evaluateOptions, tasksOf } from '../../eval/evaluate.js';
import { readOwnTask } from '../../eval/own/own-task.js';
import { expectExamples } from '../../eval/prompt.js';
import { type Column, resolveTasks } from '../../eval/registry.js';
import { hashModel } from '../../eval/results/model-hash.js';
import { type ModelReport, type Report, type ReportedGates, toCsv, writeReport } from '../../eval/results/report.js';
import type { TaskResult } from '../../eval/run/run-task.js';
import { LIMITS } from '../../eval/sandbox/runner.js';
import { Sandbox, sandboxOptions } from '../../eval/sandbox/sandbox.js';
import type { Task } from '../../eval/task.js';
import type { TaskGates } from '../../gates/gate-sums.js';
import { LOOKED_AT, type TaskGateOptions, taskGates } from '../../gates/task-gates.js';
import type { LoadModelOptions } from '../../model/language-model.js';
import { isStitched, loadModel, readModelConfig } from '../../model/load-model.js';
import { StitchedModel } from '../../model/stitched-model.js';
import type { QuantizeOptions } from '../../model/transformer/quantization.js';
import { note, print, printJson } from '../../terminal/output.js';
import { Progress } from '../../terminal/progress.js';
import { formOf, type ShownGates, shownMeans, writeGates } from '../gate-output.js';
import { expectOneProcess, openDevice } from '../options/open-device.js';
import { present } from '../options/options.js';
import type { DeviceValues } from '../options/training-options.js';
import { type OutputOptions, reportTable } from './eval-tables.js';

/** How benchmarks are run. */
export const taskOptions = {
  tasks: commaList(text('a name')).optional().meta({
    description:
      "Benchmarks, groups of them, 'all' for the paper's, names with *, or files of your own, commas between",
    argument: 'name,..',
  }),
  data: folder().optional().meta({
    description: 'Where the benchmarks lie (default: $BTS_EVAL_DATA, or ./benchmarks)',
    argument: 'folder',
  }),
  limit: evaluateOptions.limit,
  shots: z
    .array(z.string().regex(/^([\w.*-]+=)?\d+$/, 'expected a number, or task=number'))
    .default([])
    .meta({
      description: 'Answered examples before each question, of all benchmarks or of one. Repeatable (default: theirs)',
      argument: '[task=]number',
    }),
  out: folder().optional().meta({
    description: 'Where results and every sample are kept; a run that was stopped goes on there',
    argument: 'folder',
  }),
  gates: flag()
    .default(false)
    .meta({
      description: `Also tell what stitches gave the members of stitched models, in answers to the first ${LOOKED_AT} documents of each`,
    }),
  gatesFile: text('a file').optional().meta({
    description: 'The same of one stitched model into a file: .svg, .html, .csv or .json, by its ending',
    argument: 'file',
  }),
  seed: evaluateOptions.seed,
  sharePrefixes: evaluateOptions.sharePrefixes,
  allowUnsafeCode: sandboxOptions.allowUnsafe,
  codeTimeout: positive(86_400)
    .default(LIMITS.milliseconds / 1000)
    .meta({ description: 'Seconds that a generated program may take' }),
  python: sandboxOptions.python,
};
const shape = z.object(taskOptions);
export type TaskValues = z.output<typeof shape> &
  DeviceValues &
  QuantizeOptions & { tasks: string[]; batchSize: number; verify: boolean };

/** Runs benchmarks on models and prints their scores. */
export async function evaluateTasks(
  folders: readonly string[],
  values: TaskValues,
  output: OutputOptions,
  signal: AbortSignal,
): Promise<void> {
  // All that may be missing is looked for first: hours of evaluation must not end in a mistyped path.
  const columns = await readColumns(values.tasks);
  const tasks = tasksOf(columns);
  const shots = shotsOf(values.shots, tasks);
  for (const model of folders) await readModelConfig(model);
  const looksAtGates = await expectGates(folders, values);
  const data = openTaskData(values.data);
  let total = 0;
  for (const task of tasks) {
    const documents = await task.documents(data);
    total += Math.min(values.limit ?? documents.length, documents.length);
    if (shots(task) > 0) expectExamples(task, (await task.examples?.(data)) ?? documents, shots(task));
  }
  const sandbox = tasks.some((task) => task.runsCode) ? await openSandbox(values) : undefined;

  await using _lock = values.out === undefined ? undefined : await lockFolder(values.out);
  expectOneProcess('answering benchmarks');
  using device = openDevice(values);
  const report: Report = { formatVersion: 1, limit: values.limit ?? null, seed: values.seed, models: [] };
  for (const [i, path] of folders.entries()) {
    const { members, quantize, verify } = values;
    using model = await loadModel(device, path, { members, quantize, verify, signal });
    const kept = values.out === undefined ? undefined : sampleFolders(folders)[i]!;
    const samples =
      kept === undefined
        ? undefined
        : await samplesIn(join(values.out!, kept), path, { members, quantize, verify, signal });
    const progress = new Progress(`evaluating ${path}`, { total });
    try {
      const { limit, seed, batchSize, sharePrefixes } = values;
      const { tasks: results, columns: scores } = await evaluate(model, columns, {
        ...{ limit, seed, batchSize, sharePrefixes, data, shots, sandbox, samples, signal },
        onProgress: (documents, task) => progress.update(documents, [task]),
      });
      report.models.push({
        model: path,
        ...present({ samples: kept }),
        columns: scores,
        tasks: results.map(withoutSamples),
      });
      progress.done(`evaluated ${path}`);
      if (looksAtGates && model instanceof StitchedModel) {
        const look = { data, batchSize, signal };
        report.models.at(-1)!.gates = {
          members: model.memberNames,
          means: await lookAt(model, columns, results, look),
        };
      }
    } finally {
      progress.done();
    }
    if (values.out !== undefined) await writeReport(values.out, report);
    warnOfCuts(report.models.at(-1)!);
  }
  const gated = report.models.flatMap(({ model, gates }) => (gates ? [{ model, ...shownGates(model, gates) }] : []));
  if (values.gatesFile !== undefined) await writeGates(gated[0]!, formOf(values.gatesFile), values.gatesFile);
  if (output.json) printJson(report);
  else if (output.csv) print(toCsv(report));
  else {
    const tables = gated.map(({ model, table }) => `Gates of ${model} in its answers:\n\n${table(output)}`);
    print([reportTable(report, output), ...tables].join('\n\n'));
  }
}

/** Whether gates are to be looked at. Throws BAD_OPTION where no model has any, or a file is to show those of several. */
async function expectGates(
  folders: readonly string[],
  { gates, gatesFile }: Pick<TaskValues, 'gates' | 'gatesFile'>,
): Promise<boolean> {
  if (!gates && gatesFile === undefined) return false;
  if (gatesFile !== undefined) formOf(gatesFile);
  const stitched = (await Promise.all(folders.map(isStitched))).filter(Boolean).length;
  if (stitched === 0) {
    throw new BtsError('BAD_OPTION', "none of these is a stitched model: they have no gates. See 'bts stitch --help'.");
  }
  if (gatesFile !== undefined && stitched > 1) {
    throw new BtsError('BAD_OPTION', `--gates-file shows the gates of one stitched model, ${stitched} came.`);
  }
  return true;
}

async function lookAt(
  model: StitchedModel,
  columns: readonly Column[],
  results: readonly TaskResult[],
  options: TaskGateOptions,
): Promise<TaskGates[]> {
  const progress = new Progress('looking at gates');
  try {
    return await taskGates(model, columns, results, {
      ...options,
      onProgress: (documents, benchmark) => progress.update(documents, [benchmark]),
    });
  } finally {
    progress.done();
  }
}

const shownGates = (path: string, { members, means }: ReportedGates): ShownGates =>
  shownMeans({ path, name: basename(resolve(path)) }, members, means);

/** Where benchmarks lie, if nothing else is said. */
export function openTaskData(folder?: string): DataFolder {
  return new DataFolder(folder ?? process.env.BTS_EVAL_DATA ?? 'benchmarks');
}

/** The columns that names and files of tasks stand for. */
export async function readColumns(names: readonly string[]): Promise<Column[]> {
  const isFile = (name: string) => /\.(ya?ml|json)$/i.test(name);
  const own = new Map<string, Task>();
  for (const name of names.filter(isFile)) own.set(name, await readOwnTask(name));
  return resolveTasks(
    names.map((name) => own.get(name)?.name ?? name),
    [...own.values()],
  );
}

/** How many examples each task shows: what was asked for by name, or for all, or its own number. */
function shotsOf(given: readonly string[], tasks: readonly Task[]): (task: Task) => number {
  const pairs = given.map((text) => text.split('=').reverse() as [string, string?]);
  const byName = new Map(pairs.map(([count, name]) => [name, count]));
  if (byName.size < given.length) throw new BtsError('BAD_OPTION', `--shots is given twice: ${given.join(', ')}.`);
  const general = byName.get(undefined);
  for (const name of byName.keys()) {
    if (name === undefined || tasks.some((task) => task.name === name || task.name.startsWith(`${name}_`))) continue;
    const known = tasks.map((task) => task.name);
    throw new BtsError(
      'BAD_OPTION',
      `--shots names '${name}', which is not one of the tasks.${didYouMean(name, known)}`,
    );
  }
  return (task) => {
    const parts = task.name.split('_');
    const name = parts.map((_, i) => parts.slice(0, parts.length - i).join('_')).find((part) => byName.has(part));
    const asked = name === undefined ? general : byName.get(name);
    return asked === undefined ? task.shots : Number(asked);
  };
}

async function openSandbox({ allowUnsafeCode, codeTimeout, python }: TaskValues): Promise<Sandbox> {
  const sandbox = await Sandbox.open({
    allowUnsafe: allowUnsafeCode,
    limits: { milliseconds: 1000 * codeTimeout },
    python,
  });
  if (sandbox.isolationName === 'none')
    note('Generated programs run without isolation: they can read and change your files.');
  return sandbox;
}

/** A name for each model's samples, told apart where paths are alike. */
function sampleFolders(folders: readonly string[]): string[] {
  const names: string[] = [];
  for (const path of folders) {
    const parts = path.split(/[\\/]/).filter((part) => part !== '' && part !== '.' && part !== '..');
    const name = parts.join('-') || 'model';
    const same = names.filter((other) => other === name || other.startsWith(`${name}~`)).length;
    names.push(same === 0 ? name : `${name}~${same + 1}`);
  }
  return names;
}

async function samplesIn(folder: string, model: string, { verify, signal, ...bits }: LoadModelOptions) {
  const path = (task: Task) => join(folder, `${task.name}.jsonl`);
  const hash = await hashModel(model, { verify, signal });
  // What was answered by the members as they are is not what they answer in fewer bits.
  return { path, modelHash: bits.members || bits.quantize ? `${hash} ${JSON.stringify(bits)}` : hash };
}

const withoutSamples = ({ samples: _, ...result }: TaskResult) => result;

function warnOfCuts({ model, tasks }: ModelReport): void {
  const sum = (field: 'cut' | 'documents') => tasks.reduce((total, result) => total + result[field], 0);
  if (sum('cut') === 0) return;
  note(
    `${model}: ${sum('cut')} of ${sum('documents')} prompts were longer than the model takes and lost their beginning.`,
  );
}
