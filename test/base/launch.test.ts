/** Which process this is, as launchers tell it: each one's variables, in their order, and what contradicts itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findLaunch, type Launch } from '../../lib/base/launch.js';
import { fails } from '../data/data-fixtures.js';

type Variables = Record<string, string>;

const SRUN = { SLURM_JOB_ID: '77', SLURM_STEP_ID: '0', SLURM_STEP_NODELIST: 'gpu[03-07,12]' };
const PLACE = { masterAddress: undefined, masterPort: undefined, hasMpi: false, token: '' };

const FOUND: readonly [name: string, env: Variables, launch: Launch | undefined][] = [
  ['nobody', { HOME: '/root' }, undefined],
  [
    'torchrun',
    {
      RANK: '5',
      WORLD_SIZE: '8',
      LOCAL_RANK: '1',
      MASTER_ADDR: 'node0',
      MASTER_PORT: '29500',
      TORCHELASTIC_RUN_ID: 'job',
    },
    { rank: 5, size: 8, localRank: 1, masterAddress: 'node0', masterPort: 29500, hasMpi: false, token: 'job' },
  ],
  [
    'Kubernetes, one process in a pod',
    { RANK: '1', WORLD_SIZE: '2', MASTER_ADDR: 'job-0.job', MASTER_PORT: '3389', BTS_JOB_TOKEN: 'secret' },
    { rank: 1, size: 2, localRank: 0, masterAddress: 'job-0.job', masterPort: 3389, hasMpi: false, token: 'secret' },
  ],
  [
    "Open MPI's mpirun",
    { OMPI_COMM_WORLD_RANK: '2', OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_RANK: '0' },
    { ...PLACE, rank: 2, size: 4, localRank: 0, hasMpi: true },
  ],
  [
    "MPICH's mpirun",
    { PMI_RANK: '3', PMI_SIZE: '4', MPI_LOCALRANKID: '1' },
    { ...PLACE, rank: 3, size: 4, localRank: 1, hasMpi: true },
  ],
  [
    'srun',
    { ...SRUN, SLURM_PROCID: '3', SLURM_NTASKS: '4', SLURM_LOCALID: '1' },
    { rank: 3, size: 4, localRank: 1, masterAddress: 'gpu03', masterPort: 20_077, hasMpi: false, token: 'slurm-77.0' },
  ],
  [
    'srun --mpi=pmix of fewer tasks than the job has',
    { ...SRUN, SLURM_PROCID: '1', SLURM_NTASKS: '8', SLURM_STEP_NUM_TASKS: '2', SLURM_LOCALID: '1', PMIX_RANK: '1' },
    { rank: 1, size: 2, localRank: 1, masterAddress: 'gpu03', masterPort: 20_077, hasMpi: true, token: 'slurm-77.0' },
  ],
  [
    'srun without a job id',
    { SLURM_PROCID: '1', SLURM_NTASKS: '2', SLURM_LOCALID: '1', SLURM_JOB_NODELIST: 'a,b' },
    { ...PLACE, rank: 1, size: 2, localRank: 1, masterAddress: 'a' },
  ],
  [
    "the script of sbatch, which is one process of a job's 4 tasks",
    { SLURM_JOB_ID: '77', SLURM_PROCID: '0', SLURM_NTASKS: '4' },
    undefined,
  ],
  [
    'a job of a federation, whose number is long',
    { ...SRUN, SLURM_JOB_ID: '1006632961', SLURM_PROCID: '0', SLURM_NTASKS: '1' },
    {
      rank: 0,
      size: 1,
      localRank: 0,
      masterAddress: 'gpu03',
      masterPort: 28_961,
      hasMpi: false,
      token: 'slurm-1006632961.0',
    },
  ],
  ['a shell of salloc', { SLURM_JOB_ID: '77', SLURM_NTASKS: '4' }, undefined],
  ['a rank alone', { SLURM_PROCID: '0' }, { ...PLACE, rank: 0, size: 1, localRank: 0 }],
  ['a size alone', { WORLD_SIZE: '8' }, undefined],
  ['a rank alone, of an adapter perhaps', { RANK: '16' }, undefined],
  ['empty variables', { RANK: '', WORLD_SIZE: '' }, undefined],
  [
    'ranks that mpirun tells, and the user too',
    { RANK: '1', WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '2' },
    { ...PLACE, rank: 1, size: 2, localRank: 0, hasMpi: true },
  ],
  [
    'torchrun within srun: its processes are none of Slurm',
    {
      RANK: '3',
      WORLD_SIZE: '4',
      LOCAL_RANK: '3',
      ...SRUN,
      SLURM_PROCID: '0',
      SLURM_NTASKS: '1',
      PMI_RANK: '0',
      PMI_SIZE: '1',
    },
    { rank: 3, size: 4, localRank: 3, masterAddress: 'gpu03', masterPort: 20_077, hasMpi: false, token: 'slurm-77.0' },
  ],
];

for (const [name, env, launch] of FOUND)
  test(`${name}`, () => {
    assert.equal(findLaunch(env), launch);
  });

const REFUSED: readonly [env: Variables, message: RegExp][] = [
  [{ RANK: '4', WORLD_SIZE: '4' }, /^RANK is 4, and WORLD_SIZE is 4: expected a rank from 0 to size - 1/],
  [{ RANK: 'one', WORLD_SIZE: '2' }, /variable RANK must be a whole number from 0 to 1000000, not 'one'/],
  [{ RANK: '0', WORLD_SIZE: '0' }, /WORLD_SIZE must be a whole number from 1 /],
  [{ RANK: '0', WORLD_SIZE: '2', LOCAL_RANK: '-1' }, /LOCAL_RANK must be/],
  [{ RANK: '0', WORLD_SIZE: '2', MASTER_PORT: '70000' }, /MASTER_PORT must be a whole number from 1 to 65535/],
  [{ OMPI_COMM_WORLD_RANK: '2' }, /^OMPI_COMM_WORLD_RANK is 2, and OMPI_COMM_WORLD_SIZE is not set/],
];

for (const [env, message] of REFUSED)
  test(`refused: ${JSON.stringify(env)}`, async () => {
    await fails(() => findLaunch(env), 'BAD_OPTION', message);
  });

test.run();
