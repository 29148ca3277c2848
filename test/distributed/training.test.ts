/** Training on several ranks, against the same on one. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import { openCpu } from '../support/devices.js';
import { close, inTemporaryFolder, writeModel } from '../support/models.js';
import { newestOf } from '../support/training.js';
import { alone as aloneOn, heldOut, losses, of, onRanks, ROUNDING, sameCourse, stepsOf } from './courses.js';
import { noEmulation, noMpi, runRanks } from './ranks.js';
import type { Fault, Job, Made } from './training-jobs.js';

const device = openCpu();
test.after(() => device.dispose());

const alone = (jobs: Job[]) => aloneOn(device, jobs);

async function weightsOf(folder: string): Promise<Buffer> {
  for (const name of ['model', 'stitch', 'router', 'mixture', 'adapter_model', 'weights'].map(
    (name) => `${name}.safetensors`,
  )) {
    const bytes = await readFile(join(folder, name)).catch(() => undefined);
    if (bytes) return bytes;
  }
  throw new Error(`no weights in ${folder}`);
}

const why = noMpi();
if (why !== undefined) console.log(`distributed training: skipped, ${why}`);

async function withMembers(
  use: (root: string, job: (kind: Job['kind'], name: string) => Omit<Job, 'batchSize'>) => Promise<void>,
) {
  await inTemporaryFolder(async (root) => {
    const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
    const code = await writeModel(device, join(root, 'code'), { seed: 2 });
    const members = { hub, experts: { code } };
    await use(root, (kind, name) => ({ kind, members, folder: join(root, name) }));
  });
}

const KINDS = ['dense', 'adapter', 'stitched', 'btx-sample', 'bam', 'routing'] as const;

if (why === undefined) {
  test('two ranks take the course of one with batches twice as large, and the same course each time', async () => {
    await withMembers(async (_, job) => {
      const jobs = (name: string, batchSize: number): Job[] => [
        ...KINDS.map((kind) => ({ ...job(kind, `${name}-${kind}`), batchSize })),
        { ...job('stitched', `${name}-accumulated`), batchSize, accumulation: 2 },
      ];
      const wanted = await alone(jobs('one', 6));
      const [first, second] = (await onRanks(2, [...jobs('two', 3), ...jobs('again', 3)])) as [Made[], Made[]];
      const rates = (made: Made) =>
        made.events!.map((event) => ({ ...event, tokensPerSecond: 0, sumsMs: [], folder: '' }));
      for (const [i, { kind, folder }] of jobs('two', 3).entries()) {
        sameCourse(first[i]!, wanted[i]!, kind);
        assert.equal(rates(first[i]!), rates(second[i]!), `${kind} is reported alike on both ranks`);
        assert.equal(rates(first[i]!), rates(first[i + jobs('two', 3).length]!), `${kind} takes the same course again`);
        for (const { sumsMs } of of(first[i]!, 'step')) assert.is(sumsMs!.length, 2);
        const again = jobs('again', 3)[i]!.folder;
        assert.ok((await weightsOf(folder)).equals(await weightsOf(again)), `${kind} comes to the same bytes again`);
      }
    });
  });

  test('a run that began on two ranks goes on on one, then on three, in batches as large as before', async () => {
    await withMembers(async (_, job) => {
      const begun: Job = { ...job('stitched', 'moved'), batchSize: 4 };
      const [wanted] = await alone([{ ...job('stitched', 'whole'), batchSize: 8 }]);
      const [[first]] = (await onRanks(2, [{ ...begun, fault: { rank: 1, step: 2, what: 'stop' } }])) as [Made[]];
      assert.equal(first!.events!.at(-1)!.type, 'stopped');
      const [second] = await alone([
        { ...begun, resume: (await newestOf(begun.folder))!, fault: { rank: 0, step: 4, what: 'stop' } },
      ]);
      const moved = of(second!, 'resumed')[0]!;
      assert.equal([moved.step, moved.ranks, moved.begun, moved.batch], [2, 1, 2, 8]);
      const [[third]] = (await onRanks(3, [{ ...begun, resume: (await newestOf(begun.folder))! }])) as [Made[]];
      assert.equal(
        of(third!, 'resumed').map(({ ranks }) => ranks),
        [3],
      );
      const all = { events: [first!, second!, third!].flatMap(({ events }) => events!) };
      close(losses(all), losses(wanted!), ROUNDING, 'losses');
      close(heldOut(all), heldOut(wanted!), ROUNDING, 'held-out losses');
    });
  });

  test('what goes wrong on one rank ends the run on all of them, at the same step', async () => {
    await withMembers(async (root, job) => {
      const batchSize = 2;
      const wrong = (what: Fault['what'], name = what.replace(' ', '-')): Job => ({
        ...job('stitched', name),
        batchSize,
        fault: { rank: 1, step: 3, what },
      });
      const differs = (name: string, other: NonNullable<Job['other']>, kind: Job['kind'] = 'stitched'): Job => ({
        ...job(kind, name),
        batchSize,
        other,
      });
      const [wanted] = await alone([{ ...job('stitched', 'whole'), batchSize: 2 * batchSize }]);
      const all = await onRanks(2, [
        wrong('NaN'),
        wrong('stop'),
        wrong('memory once'),
        wrong('memory always'),
        wrong('slow'),
        differs('rate', { learningRate: 1e-3 }),
        differs('batch', { batchSize: 3 }),
        differs('seed', { seed: 4 }),
        differs('text', { text: 5 }),
        differs('members', { hub: join(root, 'code') }),
        differs('weights', { hub: join(root, 'code') }, 'dense'),
      ]);
      for (const [rank, made] of all.entries()) {
        const [nan, stop, once, always, slow, ...different] = made as [Made, Made, Made, Made, Made, ...Made[]];
        assert.is(nan.error?.code, 'LOSS_NOT_FINITE', `on rank ${rank}`);
        assert.match(nan.error!.message, 'step 4 came to a loss of NaN');
        assert.equal(stop.events!.at(-1), {
          type: 'stopped',
          step: 3,
          folder: join(root, 'stop.training/step-0000003'),
        });
        sameCourse(once, wanted!, 'memory that ran out once');
        assert.is(always.error?.code, 'OUT_OF_MEMORY', `on rank ${rank}: ${always.error?.message}`);
        assert.is(losses(always).length, 3);
        const waited = (of: number) =>
          stepsOf(slow)
            .slice(3)
            .reduce((total, { sumsMs }) => total + sumsMs![of]!, 0);
        assert.ok(
          waited(0) > 2 * waited(1),
          `rank 0 waited ${waited(0)} ms for the slower one, that one ${waited(1)} ms`,
        );
        const [rate, batch, seed, text, members, weights] = different.map(({ error }) => error);
        for (const error of [rate, batch, seed, text, members, weights]) assert.is(error?.code, 'BAD_OPTION');
        assert.match(rate!.message, 'learningRate is 0.001 on rank 1, and 0.01 on rank 0');
        assert.match(batch!.message, 'batchSize is 3 on rank 1, and 2 on rank 0');
        assert.match(seed!.message, 'seed is 4 on rank 1, and 3 on rank 0');
        assert.match(text!.message, 'data is ');
        assert.match(members!.message, 'what the model is made of is ');
        assert.match(weights!.message, 'the norm of the weights is ');
      }
      const batches = JSON.parse(await readFile(join(root, 'NaN.training', 'diverged-at-4.json'), 'utf8'));
      assert.is(batches.length, 4, 'the rows of all ranks');
      // Rank 0 had no NaN.
      const { tensors } = await readSafetensors(join(root, 'NaN.training/step-0000003/stitch.safetensors'));
      assert.ok(tensors.size > 0);
    });
  });

  test('a rank that is killed ends all, and the run goes on at the last checkpoint, which is whole', async () => {
    await withMembers(async (_, job) => {
      const begun: Job = { ...job('stitched', 'killed'), batchSize: 2 };
      const jobs = JSON.stringify([{ ...begun, fault: { rank: 1, step: 5, what: 'killed' } }]);
      const { status, reports } = await runRanks('trainings', 2, { env: { BTS_JOBS: jobs } });
      assert.is.not(status, 0);
      assert.equal(reports, [undefined, undefined]);
      const resume = (await newestOf(begun.folder))!;
      assert.match(resume, /step-0000004$/);
      const [[rest]] = (await onRanks(2, [{ ...begun, resume }])) as [Made[]];
      const [wanted] = await alone([{ ...job('stitched', 'whole'), batchSize: 4 }]);
      close(losses(rest!), losses(wanted!).slice(4), ROUNDING, 'losses');
    });
  });

  test('four ranks with one sequence each', async () => {
    await withMembers(async (_, job) => {
      const [wanted] = await alone([{ ...job('stitched', 'one'), batchSize: 4 }]);
      const all = await onRanks(4, [{ ...job('stitched', 'four'), batchSize: 1 }]);
      for (const [made] of all) sameCourse(made!, wanted!, 'stitched');
    });
  });

  const whyNotEmulated = noEmulation();
  if (whyNotEmulated !== undefined) console.log(`two emulated GPUs: skipped, ${whyNotEmulated}`);
  const emulated = whyNotEmulated === undefined ? test : test.skip;
  emulated('two emulated GPUs', async () => {
    await withMembers(async (_, job) => {
      const [wanted] = await alone([{ ...job('stitched', 'one'), batchSize: 4 }]);
      const all = await onRanks(2, [{ ...job('stitched', 'two'), batchSize: 2 }], { device: 'cuda-emulated/f32' });
      for (const [made] of all) sameCourse(made!, wanted!, 'stitched');
    });
  });
}

test.run();
