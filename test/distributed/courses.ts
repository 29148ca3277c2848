/** Runs of training, and what two ways of making the same come to. */
import * as assert from 'uvu/assert';
import { Communicator } from '../../lib/tensor/communicator.js';
import type { Device } from '../../lib/tensor/device.js';
import type { TrainEvent } from '../../lib/train/events.js';
import { close } from '../support/models.js';
import { type RunOptions, runRanks, valuesOf } from './ranks.js';
import { type Job, type Made, makeRuns } from './training-jobs.js';

/** f32 sums of some hundred terms in another order, through six updates that take square roots of them. */
export const ROUNDING = 2e-3;

/** All jobs on one rank, in this process. */
export const alone = (device: Device, jobs: Job[]) => makeRuns(Communicator.alone(device), jobs);
/** All jobs on several ranks, by rank. */
export const onRanks = async (size: number, jobs: Job[], options: RunOptions = {}) =>
  valuesOf<Made[]>(await runRanks('trainings', size, { ...options, env: { BTS_JOBS: JSON.stringify(jobs) } }));

export const of = <Type extends TrainEvent['type']>(made: Made, type: Type) =>
  made.events!.filter((event): event is TrainEvent & { type: Type } => event.type === type);
export const stepsOf = (made: Made) => of(made, 'step');
export const losses = (made: Made) => stepsOf(made).map(({ loss }) => loss);
const norms = (made: Made) => stepsOf(made).map(({ gradientNorm }) => gradientNorm);
export const heldOut = (made: Made) =>
  made.events!.flatMap((event) => ('losses' in event ? event.losses : []).map(({ loss }) => loss));
const gates = (made: Made) =>
  made.events!.flatMap((event) =>
    ('gates' in event ? event.gates! : []).flatMap(({ gates, entropy }) => [...gates, entropy]),
  );

/** Throws where two ways of making the same run came to different ends. */
export function sameCourse(found: Made, wanted: Made, what: string, tolerance = ROUNDING): void {
  assert.is(found.error, undefined, `${what}: ${found.error?.message}`);
  for (const look of [losses, norms, heldOut, gates])
    close(look(found), look(wanted), tolerance, `${what}: ${look.name}`);
  assert.is(losses(found).length, losses(wanted).length, what);
}
