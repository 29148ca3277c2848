import { BtsError } from '../base/errors.js';

export interface ScheduleOptions {
  /** Peak learning rate. */
  learningRate: number;
  /** Updates in all. */
  steps: number;
  /** Updates of linear warm-up; default a twentieth of all. */
  warmupSteps?: number;
  /** The learning rate at the end as a fraction of the peak; default 0.1. */
  finalFraction?: number;
}

/** Fills in defaults. Throws BAD_OPTION. */
export function checkSchedule(options: ScheduleOptions): Required<ScheduleOptions> {
  const { learningRate, steps, warmupSteps = Math.floor(options.steps / 20), finalFraction = 0.1 } = options;
  const expect = (holds: boolean, rule: string) => {
    if (!holds) throw new BtsError('BAD_OPTION', rule);
  };
  expect(learningRate > 0 && learningRate < Infinity, `learningRate must be a positive number, not ${learningRate}.`);
  expect(Number.isSafeInteger(steps) && steps >= 1, `steps must be a positive whole number, not ${steps}.`);
  expect(
    Number.isSafeInteger(warmupSteps) && warmupSteps >= 0 && warmupSteps <= steps,
    `warmupSteps must be a whole number from 0 to the ${steps} steps, not ${warmupSteps}.`,
  );
  expect(finalFraction >= 0 && finalFraction <= 1, `finalFraction must lie in [0, 1], not ${finalFraction}.`);
  return { learningRate, steps, warmupSteps, finalFraction };
}

/** The learning rate of update `step` (from 1): linear warm-up to the peak, then a cosine down to the final fraction. */
export function learningRateAt(step: number, schedule: Required<ScheduleOptions>): number {
  const { learningRate, steps, warmupSteps, finalFraction } = schedule;
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  const progress = (step - warmupSteps) / Math.max(1, steps - warmupSteps);
  const cosine = (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * (finalFraction + (1 - finalFraction) * cosine);
}
