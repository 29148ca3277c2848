import { parseOptions } from '../../base/options-check.js';
import { Mixture } from '../../data/mixture.js';
import type { DomainTokens } from '../../data/token-shards.js';
import type { HeldOutLoss, HeldOutOptions } from '../../eval/held-out-loss.js';
import type { LanguageModel } from '../../model/language-model.js';
import type { Communicator } from '../../tensor/communicator.js';
import { SharedError } from '../../tensor/together.js';
import { compact, Progress } from '../../terminal/progress.js';
import { stepOf } from '../../train/checkpoint.js';
import type { TrainEvent } from '../../train/events.js';
import { trainOptions } from '../../train/options.js';
import { train } from '../../train/trainer.js';
import type { TrainingValues } from '../options/training-options.js';

export interface TrainingRun {
  label: string;
  shares: Readonly<Record<string, number>>;
  /** The checkpoint that the model was loaded from. */
  resume: string | undefined;
  /** What the run was made from, beside the options of training: the same where it is resumed. */
  identity?: Readonly<Record<string, unknown>>;
  signal: AbortSignal;
  communicator: Communicator;
  write?: (folder: string) => Promise<void>;
}

/**
 * Trains the model as the options say, with progress on stderr, and returns the losses on held-out text at the end; none if
 * no text is held out. Throws ABORTED, once a checkpoint is saved, where the run was interrupted; and what `train` throws.
 */
export async function runTraining(
  model: LanguageModel,
  domains: readonly DomainTokens[],
  values: TrainingValues,
  { label, shares, signal, communicator, ...run }: TrainingRun,
): Promise<HeldOutLoss[]> {
  const data = new Mixture(
    domains.map(({ name, train }) => ({ name, tokens: train, weight: shares[name]! })),
    { batchSize: values.batchSize, sequenceLength: values.sequenceLength, seed: values.seed },
  );
  const progress = new Progress(label, { total: values.steps, from: run.resume ? stepOf(run.resume) : 0 });
  let step = 0;
  let losses: HeldOutLoss[] = [];
  const onProgress = (domain: string, tokens: number) =>
    progress.update(step, [`evaluating ${domain}`, `${compact(tokens)} tokens`]);
  try {
    for await (const event of train(model, data, {
      ...parseOptions(trainOptions, values),
      ...run,
      folder: values.out,
      heldOut: domains.filter(({ heldOut }) => heldOut.length > 1),
      evaluation: { ...evaluationOptions(values, model), onProgress },
      signal,
      communicator,
    })) {
      step = event.step;
      if (event.type === 'started' || event.type === 'evaluation') losses = event.losses;
      else if (event.type === 'step' && event.step === 1 && losses.length === 0) {
        progress.print(`loss before training: ${event.loss.toFixed(3)}`);
      }
      show(event, progress);
      if (event.type === 'stopped') {
        throw new SharedError(
          'ABORTED',
          `stopped after step ${event.step} of ${values.steps}, which is saved in '${event.folder}'. ` +
            'Run the same command with --resume to go on.',
          { cause: signal.reason },
        );
      }
    }
  } finally {
    progress.done();
  }
  return losses;
}

type EvaluationValues = Pick<TrainingValues, 'sequenceLength' | 'batchSize' | 'evaluateTokens'>;

/** How held-out text is looked at during a run and after it: the same way, so that numbers can be compared. */
export function evaluationOptions(values: EvaluationValues, { config }: Pick<LanguageModel, 'config'>): HeldOutOptions {
  return {
    sequenceLength: Math.min(values.sequenceLength, config.maxPositions),
    batchSize: values.batchSize,
    maxTokens: values.evaluateTokens,
  };
}

function show(event: TrainEvent, progress: Progress): void {
  if (event.type === 'step') {
    const { step, loss, learningRate, tokensPerSecond } = event;
    const rate = `${compact(tokensPerSecond)} tokens/s`;
    progress.update(step, [`loss ${loss.toFixed(3)}`, `lr ${learningRate.toExponential(1)}`, rate]);
  } else if (event.type === 'started' || event.type === 'evaluation') {
    const losses = event.losses.map(({ domain, loss }) => `${domain} ${loss.toFixed(3)}`);
    progress.print(`step ${event.step}, held-out loss: ${losses.join(', ')}`);
  } else if (event.type === 'resumed') {
    const { step, ranks, begun, batch } = event;
    const on = ranks === 1 ? '1 rank' : `${ranks} ranks`;
    progress.print(`step ${step}: goes on on ${on} (it began on ${begun}), in batches of ${batch} sequences as before`);
  } else if (event.type === 'checkpoint') {
    progress.print(`step ${event.step}, saved in '${event.folder}'`);
  }
}
