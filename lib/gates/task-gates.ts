import type { z } from 'zod';
import { type Abortable, throwIfAborted } from '../base/errors.js';
import { largest } from '../base/extremes.js';
import { checkOptions } from '../base/options-check.js';
import { mapInTurns } from '../base/turns.js';
import type { DataFolder } from '../eval/data/data-folder.js';
import { evaluateOptions } from '../eval/evaluate.js';
import { continuations } from '../eval/prompt.js';
import type { Column } from '../eval/registry.js';
import { PromptEncoder } from '../eval/run/prompts.js';
import type { Sample, TaskResult } from '../eval/run/run-task.js';
import type { Task } from '../eval/task.js';
import type { ContinuationRequest } from '../model/requests/request.js';
import { scoreContinuations } from '../model/requests/score-continuations.js';
import type { StitchedModel } from '../model/stitched-model.js';
import { GateSums, type TaskGates } from './gate-sums.js';

/** Documents of each task whose answers are looked at, the first. */
export const LOOKED_AT = 100;
/** All channels' gates of a batch take no more. */
const MOST_BYTES = 2 ** 28;

const taskGateOptions = {
  /** Documents that are computed together, at most; default 8. */
  batchSize: evaluateOptions.batchSize,
};

export interface TaskGateOptions extends z.input<z.ZodObject<typeof taskGateOptions>>, Abortable {
  /** Where the benchmarks lie. */
  data: DataFolder;
  /** Documents looked at, of all benchmarks together. */
  onProgress?: (documents: number, benchmark: string) => void;
}

/**
 * Which members each stitch listens to where a model answers benchmarks, given what `evaluate` found: means over the tokens of
 * its own answers, of the choices it finds likeliest and of the texts it wrote, behind the prompts that it was asked with; of
 * texts that are scored, over all of their tokens. At most 100 documents of each task are looked at, in a pass of their own, so
 * that scores stay what they are. It costs what scoring these answers does. Throws BAD_OPTION, what reading documents throws, ABORTED.
 *
 * @param columns what `resolveTasks` made of names
 * @param results what `evaluate` found for them, samples included
 */
export async function taskGates(
  model: StitchedModel,
  columns: readonly Column[],
  results: readonly TaskResult[],
  options: TaskGateOptions,
): Promise<TaskGates[]> {
  const others = { data: true, onProgress: true, signal: true } as const;
  const { data, batchSize, signal, onProgress } = checkOptions('taskGates', taskGateOptions, options, others);
  const encoder = new PromptEncoder(model.tokenizer);
  const found: TaskGates[] = [];
  let documents = 0;
  for (const { name, tasks } of columns) {
    const sums = model.manifest.plan.map((placement) => new GateSums(placement, model.memberNames));
    for (const task of tasks) {
      throwIfAborted(signal, 'looking at gates');
      const all = await task.documents(data);
      const samples = results.find((result) => result.task === task.name)?.samples.slice(0, LOOKED_AT) ?? [];
      const toRequests = (sample: Sample) => answersOf(task, all[sample.document], sample, encoder, model);
      const requests = (await mapInTurns(samples, toRequests, signal)).flat();
      const together = Math.min(batchSize, batchOf(model, requests));
      const asked = { batchSize: together, sharePrefixes: true, gates: { channels: true }, signal };
      for await (const { scores } of scoreContinuations(model, requests, asked)) {
        for (const { stitches } of scores.flatMap(({ gates }) => gates!)) {
          for (const [s, { channels }] of stitches.entries()) sums[s]!.add(channels!);
        }
      }
      documents += samples.length;
      onProgress?.(documents, name);
    }
    for (const sum of sums) if (sum.tokens > 0) found.push({ task: name, stitch: sum.stitch, ...sum.result() });
  }
  return found;
}

/** What a model answered to one document, as tokens behind those of its prompt; nothing where it said nothing. */
function answersOf(
  task: Task,
  doc: unknown,
  { prompt, response }: Sample,
  encoder: PromptEncoder,
  { config: { maxPositions } }: StitchedModel,
): ContinuationRequest[] {
  const behind = (text: string): ContinuationRequest => {
    const { context, continuations } = encoder.encodeChoices(prompt, [text]);
    const [answer = []] = continuations;
    // The last token of an answer is never an input.
    return { context: context.slice(-Math.max(1, maxPositions + 1 - answer.length)), continuations: [answer] };
  };
  const whole = (): ContinuationRequest => {
    const tokens = encoder.encodeText(prompt).slice(0, maxPositions);
    return { context: [encoder.prefixToken], continuations: [tokens] };
  };
  const { choices, texts } = response;
  const likeliest = () => {
    const scores = choices!.map(({ logProbability }) => logProbability);
    return continuations(task, doc)[scores.indexOf(largest(scores))]!;
  };
  const requests = choices ? [behind(likeliest())] : texts ? texts.map(behind) : [whole()];
  return requests.filter(({ continuations: [answer] }) => answer!.length > 0);
}

/** How many documents' gates fit into the memory that is set aside for them. */
function batchOf(model: StitchedModel, requests: readonly ContinuationRequest[]): number {
  const longest = largest(requests.map(({ context, continuations: [answer] }) => context.length + answer!.length));
  const { plan } = model.manifest;
  const bytes = Float32Array.BYTES_PER_ELEMENT * plan.length * model.memberNames.length * model.config.width * longest;
  return Math.max(1, Math.floor(MOST_BYTES / Math.max(1, bytes)));
}
