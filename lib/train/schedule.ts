import type { z } from 'zod';
import { BtsError } from '../base/errors.js';
import { parseOptions } from '../base/options-check.js';
import { count, fraction, integer, positive } from '../base/schema.js';

export const scheduleOptions = {
  /** Updates in all. */
  steps: count().meta({ description: 'Updates of the weights' }),
  /** Peak learning rate. */
  learningRate: positive().meta({ description: 'Peak learning rate' }),
  /** Updates of linear warm-up; default a twentieth of all. */
  warmupSteps: integer(0).optional().meta({
    description: 'Updates of linear warm-up (default: a twentieth of all)',
  }),
  /** The learning rate at the end as a fraction of the peak; default 0.1. */
  finalFraction: fraction().default(0.1).meta({
    description: 'Learning rate at the end as a fraction of the peak',
  }),
};
/** How the learning rate goes. */
export type ScheduleOptions = z.input<z.ZodObject<typeof scheduleOptions>>;

/** How the learning rate goes, with nothing left open. */
export type Schedule = { [Name in keyof ScheduleOptions]-?: number };

/** Fills in defaults. Throws BAD_OPTION. */
export function checkSchedule(options: ScheduleOptions): Schedule {
  const { steps, ...rest } = parseOptions(scheduleOptions, options);
  const { warmupSteps = Math.floor(steps / 20) } = rest;
  if (warmupSteps > steps) {
    throw new BtsError(
      'BAD_OPTION',
      `warmupSteps must be a whole number from 0 to the ${steps} steps, not ${warmupSteps}.`,
    );
  }
  return { ...rest, steps, warmupSteps };
}

/** The learning rate of update `step` (from 1): linear warm-up to the peak, then a cosine down to the final fraction. */
export function learningRateAt(step: number, schedule: Schedule): number {
  const { learningRate, steps, warmupSteps, finalFraction } = schedule;
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  const progress = (step - warmupSteps) / Math.max(1, steps - warmupSteps);
  const cosine = (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * (finalFraction + (1 - finalFraction) * cosine);
}
