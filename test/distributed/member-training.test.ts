/** Training with a member on each rank, against the same in one process. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import type { StitchOptions } from '../../lib/model/begin-stitched.js';
import { openCpu } from '../support/devices.js';
import { close, inTemporaryFolder, writeModel } from '../support/models.js';
import { newestOf } from '../support/training.js';
import { alone, losses, of, onRanks, ROUNDING, sameCourse } from './courses.js';
import { noEmulation, noMpi, runRanks } from './ranks.js';
import type { Job, Made } from './training-jobs.js';

const device = openCpu();
test.after(() => device.dispose());

type Make = (name: string, experts: number, stitching?: Partial<StitchOptions>) => Omit<Job, 'batchSize'>;

async function withJobs(use: (job: Make, root: string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (root) => {
    const hub = await writeModel(device, join(root, 'hub'), { seed: 1 });
    const experts: [string, string][] = [];
    for (const [i, name] of ['code', 'math', 'languages'].entries())
      experts.push([name, await writeModel(device, join(root, name), { seed: i + 2 })]);
    const job: Make = (name, count, stitching) => ({
      kind: 'stitched',
      members: { hub, experts: Object.fromEntries(experts.slice(0, count)), ...(stitching && { stitching }) },
      folder: join(root, name),
    });
    await use(job, root);
  });
}

/** Throws unless two folders have the same files of weights, within rounding. */
async function sameFiles(found: string, wanted: string): Promise<void> {
  for (const file of ['stitch.safetensors', 'training/optimizer.safetensors'].map((name) => join(found, name))) {
    const other = file.replace(found, wanted);
    const [own, theirs] = await Promise.all([file, other].map((path) => readSafetensors(path)));
    const describe = ({ tensors }: typeof own) =>
      [...tensors!.values()].map(({ name, dtype, shape, offset }) => [name, dtype, shape, offset]);
    assert.equal(describe(own!), describe(theirs!), file);
    const values = async (path: string, { tensors }: typeof own) => {
      const bytes = await readFile(path);
      return [...tensors.values()].map(({ offset, bytes: size }) => [
        ...new Float32Array(Uint8Array.from(bytes.subarray(offset, offset + size)).buffer),
      ]);
    };
    const [mine, all] = [await values(file, own!), await values(other, theirs!)];
    for (const [i, value] of mine.entries())
      close(value, all[i]!, ROUNDING, `${[...own!.tensors.keys()][i]} of ${file}`);
  }
  const manifests = [found, wanted].map((folder) => readFile(join(folder, 'bts.json'), 'utf8'));
  const [mine, all] = await Promise.all(manifests);
  assert.is(mine, all);
}

const VARIANTS: [title: string, experts: number, stitching: Partial<StitchOptions>][] = [
  ['two-dropout', 1, { stitches: 2, dropout: 0.3 }],
  ['two-hub', 1, { stitches: 2, alternate: false, init: 'hub' }],
  ['three', 2, { stitches: 2, init: 'hub' }],
  ['three-low-rank', 2, { stitches: 2, rank: 3 }],
  ['four-scalar', 3, { stitches: 2, gate: 'scalar', init: 'hub', expertsAfterMerge: 'unchanged' }],
];

const why = noMpi();
if (why !== undefined) console.log(`training with a member on each rank: skipped, ${why}`);
else {
  for (const members of [2, 3, 4])
    test(`${members} ranks with a member each take the course of one process, and write what it writes`, async () => {
      await withJobs(async (job, root) => {
        const variants = VARIANTS.filter(([, experts]) => experts === members - 1);
        const jobs = (prefix: string): Job[] =>
          variants.map(([title, experts, stitching]) => ({
            ...job(`${prefix}-${title}`, experts, stitching),
            ...{ batchSize: 4, spread: true },
          }));
        const wanted = await alone(device, jobs('one'));
        for (const [rank, made] of (await onRanks(members, jobs('many'))).entries())
          for (const [i, { folder }] of jobs('many').entries())
            sameCourse(made[i]!, wanted[i]!, `${folder} on ${rank}`);
        for (const [title] of variants) {
          const checkpoint = (name: string) => join(root, `${name}-${title}.training/step-0000004`);
          await sameFiles(checkpoint('many'), checkpoint('one'));
        }
      });
    });

  test('a run goes on from several ranks to one and back, at the same course', async () => {
    await withJobs(async (job) => {
      const begun: Job = { ...job('moved', 2, { stitches: 2, rank: 3, init: 'hub' }), batchSize: 4, spread: true };
      const whole = job('whole', 2, { stitches: 2, rank: 3, init: 'hub' });
      const [wanted] = await alone(device, [{ ...whole, batchSize: 4 }]);
      const stop = (step: number, rank: number) => ({ fault: { rank, step, what: 'stop' as const } });
      const [[first]] = (await onRanks(3, [{ ...begun, ...stop(2, 1) }])) as [Made[]];
      assert.equal(first!.events!.at(-1)!.type, 'stopped', first!.error?.message);
      const [second] = await alone(device, [{ ...begun, resume: (await newestOf(begun.folder))!, ...stop(4, 0) }]);
      const [[third]] = (await onRanks(3, [{ ...begun, resume: (await newestOf(begun.folder))! }])) as [Made[]];
      assert.is(third!.error, undefined, third!.error?.message);
      const all = { events: [first!, second!, third!].flatMap(({ events }) => events!) };
      close(losses(all), losses(wanted!), ROUNDING, 'losses');
    });
  });

  test('four ranks as two models of two members share out batches, and go on on one', async () => {
    await withJobs(async (job, root) => {
      const stitching = { stitches: 2, dropout: 0.3, init: 'hub' as const };
      const [wanted] = await alone(device, [{ ...job('one', 1, stitching), batchSize: 4 }]);
      const mesh: Job = { ...job('mesh', 1, stitching), batchSize: 2, spread: true };
      for (const [made] of await onRanks(4, [mesh])) sameCourse(made!, wanted!, 'a mesh');
      const checkpoint = (name: string) => join(root, `${name}.training/step-0000004`);
      await sameFiles(checkpoint('mesh'), checkpoint('one'));
      const [rest] = await alone(device, [{ ...mesh, folder: join(root, 'mesh'), resume: checkpoint('mesh') }]);
      assert.is(rest!.error, undefined, rest!.error?.message);
      assert.equal(
        of(rest!, 'resumed').map(({ ranks, begun, batch }) => [ranks, begun, batch]),
        [[1, 2, 4]],
      );
      close(losses(rest!), losses(wanted!).slice(4), ROUNDING, 'losses');
    });
  });

  test('what goes wrong on one rank ends the run on all of them', async () => {
    await withJobs(async (job) => {
      const faulty = (what: 'NaN' | 'memory once' | 'disk', rank: number): Job => ({
        ...{ ...job(`${what}-${rank}`.replace(' ', '-'), 1), batchSize: 2, spread: true },
        fault: { rank, step: 3, what },
      });
      const other: Job = { ...faulty('NaN', 1), other: { seed: 4 } };
      const misled: Job = { ...faulty('NaN', 1), misled: true };
      const all = await onRanks(2, [other, misled, faulty('NaN', 1), faulty('NaN', 0)]);
      for (const [seed, whole, expert, hub] of all as [Made, Made, Made, Made][]) {
        assert.match(whole.error!.message, 'communicator: expected the replicas of openMesh of the 2 ranks');
        assert.match(seed.error!.message, 'seed is 4 on rank 1, and 3 on rank 0');
        for (const nan of [expert, hub]) assert.is(nan.error?.code, 'LOSS_NOT_FINITE', nan.error?.message);
      }
      // The others wait in a stitch, or for rank 0 to take what it writes: they are not left there.
      for (const [fault, code, endsMpi] of [
        [faulty('memory once', 1), 'OUT_OF_MEMORY', true],
        [faulty('memory once', 0), 'OUT_OF_MEMORY', false],
        [faulty('disk', 0), 'FILE_IO', false],
      ] as const) {
        const { status, reports, milliseconds } = await runRanks('trainings', 2, {
          env: { BTS_JOBS: JSON.stringify([fault]) },
        });
        // What is under way when MPI ends is an error of its own.
        if (endsMpi) assert.is.not(status, 0);
        const said = reports.flatMap((report) => (report?.value as Made[] | undefined) ?? []);
        assert.ok(said.length > 0);
        for (const { error } of said) assert.is(error?.code, code, error?.message);
        assert.ok(milliseconds < 120_000, `${milliseconds} ms`);
      }
    });
  });

  const whyNotEmulated = noEmulation();
  if (whyNotEmulated !== undefined) console.log(`members on emulated GPUs: skipped, ${whyNotEmulated}`);
  const emulated = whyNotEmulated === undefined ? test : test.skip;
  emulated('three emulated GPUs with a member each', async () => {
    await withJobs(async (job) => {
      const stitching = { stitches: 2, init: 'hub' as const };
      const [wanted] = await alone(device, [{ ...job('one', 2, stitching), batchSize: 4 }]);
      const gpus: Job = { ...job('gpus', 2, stitching), batchSize: 4, spread: true };
      for (const [made] of await onRanks(3, [gpus], { device: 'cuda-emulated/f32' }))
        sameCourse(made!, wanted!, 'GPUs');
    });
  });
}

test.run();
