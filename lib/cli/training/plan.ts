import { stat } from 'node:fs/promises';
import { fileError } from '../../base/errors.js';
import { machineMemory } from '../../base/memory.js';
import { findTextFiles } from '../../data/text-files.js';
import type { Cost } from '../../model/cost/cost.js';
import { compact } from '../../terminal/progress.js';
import { bytes, percent, whole } from '../../terminal/units.js';
import { checkSchedule } from '../../train/schedule.js';
import { present } from '../options/options.js';
import type { TrainingValues } from '../options/training-options.js';

/** What a training run would do: the answer of `--dry-run`. */
export interface TrainingPlan {
  out: string;
  /** The step at which the run would go on. */
  resumesFrom: string | null;
  parameters: number;
  trainedParameters: number;
  domains: { name: string; share: number; files: number; bytes: number }[];
  steps: number;
  tokensPerStep: number;
  tokens: number;
  flopsPerToken: number;
  flops: number;
  trainingBytes: number;
  memoryBytes: number;
}

/** Checks what can be checked without writing. Throws BAD_OPTION, BAD_DATA, FILE_NOT_FOUND, FILE_IO. */
export async function planTraining(
  values: TrainingValues,
  shares: Readonly<Record<string, number>>,
  cost: Cost,
  resumesFrom: string | undefined,
): Promise<TrainingPlan> {
  const { steps, learningRate, warmupSteps, finalFraction } = values;
  checkSchedule(present({ steps, learningRate, warmupSteps, finalFraction }));
  const domains = [];
  for (const [name, paths] of Object.entries(values.domain)) {
    const files = await findTextFiles(paths);
    let size = 0;
    for (const { path } of files) size += await fileSize(path);
    domains.push({ name, share: shares[name]!, files: files.length, bytes: size });
  }
  const tokensPerStep = values.batchSize * values.accumulation * values.sequenceLength;
  return {
    out: values.out,
    resumesFrom: resumesFrom ?? null,
    parameters: cost.parameters,
    trainedParameters: cost.trainedParameters,
    domains,
    steps,
    tokensPerStep,
    tokens: steps * tokensPerStep,
    flopsPerToken: cost.trainingFlops,
    flops: steps * tokensPerStep * cost.trainingFlops,
    trainingBytes: cost.trainingBytes,
    memoryBytes: machineMemory(),
  };
}

export function renderPlan(plan: TrainingPlan): string {
  const lines: [string, string][] = [
    ['model', `${whole(plan.parameters)} parameters, ${whole(plan.trainedParameters)} of them trained`],
    ...plan.domains.map(
      ({ name, share, files, bytes: size }, i) =>
        [
          i === 0 ? 'text' : '',
          `${name}: ${percent(share)} of the rows, ${files} file${files === 1 ? '' : 's'}, ${bytes(size)}`,
        ] as [string, string],
    ),
    ['steps', `${whole(plan.steps)} of ${whole(plan.tokensPerStep)} tokens, ${compact(plan.tokens)} tokens in all`],
    ['work', `${compact(plan.flopsPerToken)} operations a token, ${compact(plan.flops)} in all`],
    ['memory', `about ${bytes(plan.trainingBytes)} in a training step; this machine has ${bytes(plan.memoryBytes)}`],
    ['output', `'${plan.out}'${plan.resumesFrom ? `, going on from '${plan.resumesFrom}'` : ''}`],
  ];
  return `${lines.map(([what, how]) => `${what.padEnd(8)}${how}`).join('\n')}\nThis was a dry run: nothing was written.`;
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw fileError(error, path, 'Looking for training text');
  }
}
