import { stat } from 'node:fs/promises';
import { fileError } from '../../base/errors.js';
import { machineMemory } from '../../base/memory.js';
import { findTextFiles } from '../../data/text-files.js';
import type { Cost } from '../../model/cost/cost.js';
import { compact } from '../../terminal/progress.js';
import { bytes, percent, whole } from '../../terminal/units.js';
import { checkSchedule } from '../../train/schedule.js';
import type { TrainingValues } from '../options/training-options.js';

/** What a training run would do: the answer of `--dry-run`. */
export interface TrainingPlan {
  out: string;
  /** The step at which the run would go on. */
  resumesFrom: string | null;
  domains: { name: string; share: number; files: number; bytes: number }[];
  steps: number;
  tokensPerStep: number;
  tokens: number;
  memoryBytes: number;
}

/** What the model takes, where its configuration tells. */
export interface PlannedCost {
  parameters: number;
  trainedParameters: number;
  flopsPerToken: number;
  flops: number;
  trainingBytes: number;
}

export interface PlannedRun {
  /** Each domain's share of the rows. */
  shares: Readonly<Record<string, number>>;
  cost: Cost | undefined;
  /** That the run would go on with. */
  checkpoint: string | undefined;
  ranks: number;
}

/** Checks what can be checked without writing. Throws BAD_OPTION, BAD_DATA, FILE_NOT_FOUND, FILE_IO. */
export async function planTraining(
  values: TrainingValues,
  { shares, cost, checkpoint, ranks }: PlannedRun,
): Promise<TrainingPlan & Partial<PlannedCost>> {
  const { steps } = checkSchedule(values);
  const domains = [];
  for (const [name, paths] of Object.entries(values.domain)) {
    const files = await findTextFiles(paths);
    let size = 0;
    for (const { path } of files) size += await fileSize(path);
    domains.push({ name, share: shares[name]!, files: files.length, bytes: size });
  }
  const tokensPerStep = ranks * values.batchSize * values.accumulation * values.sequenceLength;
  const tokens = steps * tokensPerStep;
  const planned = cost && {
    parameters: cost.parameters,
    trainedParameters: cost.trainedParameters,
    flopsPerToken: cost.trainingFlops,
    flops: tokens * cost.trainingFlops,
    trainingBytes: cost.trainingBytes,
  };
  const { out } = values;
  const resumes = checkpoint ?? null;
  return { out, resumesFrom: resumes, ...planned, domains, steps, tokensPerStep, tokens, memoryBytes: machineMemory() };
}

export function renderPlan(plan: TrainingPlan & Partial<PlannedCost>): string {
  const isPlanned = (plan: Partial<PlannedCost>): plan is PlannedCost => plan.parameters !== undefined;
  const cost = isPlanned(plan) ? plan : undefined;
  const lines: ([string, string] | undefined)[] = [
    cost && ['model', `${whole(cost.parameters)} parameters, ${whole(cost.trainedParameters)} of them trained`],
    ...plan.domains.map(
      ({ name, share, files, bytes: size }, i) =>
        [
          i === 0 ? 'text' : '',
          `${name}: ${percent(share)} of the rows, ${files} file${files === 1 ? '' : 's'}, ${bytes(size)}`,
        ] as [string, string],
    ),
    ['steps', `${whole(plan.steps)} of ${whole(plan.tokensPerStep)} tokens, ${compact(plan.tokens)} tokens in all`],
    cost && ['work', `${compact(cost.flopsPerToken)} operations a token, ${compact(cost.flops)} in all`],
    cost && [
      'memory',
      `at least ${bytes(cost.trainingBytes)} in a training step; this machine has ${bytes(plan.memoryBytes)}`,
    ],
    ['output', `'${plan.out}'${plan.resumesFrom ? `, going on from '${plan.resumesFrom}'` : ''}`],
  ];
  const shown = lines.filter((line) => line !== undefined).map(([what, how]) => `${what.padEnd(8)}${how}`);
  return `${shown.join('\n')}\nThis was a dry run: nothing was written.`;
}

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    throw fileError(error, path, 'Looking for training text');
  }
}
