import { BtsError } from './errors.js';

/** How a process was started as one of several that compute together. */
export interface Launch {
  /** Of this process, from 0 to size - 1. */
  rank: number;
  /** How many processes there are. */
  size: number;
  /** Of this process among those of its machine: it picks the GPU. */
  localRank: number;
  /** The machine of rank 0, where the launcher tells it. */
  masterAddress: string | undefined;
  /** A port there which is free. */
  masterPort: number | undefined;
  /** Whether MPI can be started here: the launcher has a channel for it. */
  hasMpi: boolean;
  /** What the processes of one job share and those of another do not have. */
  token: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

interface Launcher {
  rank: string;
  sizes: readonly string[];
  localRanks: readonly string[];
}

/** Who starts ranks, and by which variables it tells them so; the first that does is believed. */
const LAUNCHERS: readonly Launcher[] = [
  // torchrun, and what Kubernetes' Jobs and JobSets are written for.
  { rank: 'RANK', sizes: ['WORLD_SIZE'], localRanks: ['LOCAL_RANK'] },
  { rank: 'OMPI_COMM_WORLD_RANK', sizes: ['OMPI_COMM_WORLD_SIZE'], localRanks: ['OMPI_COMM_WORLD_LOCAL_RANK'] },
  // MPICH, Intel MPI; and Slurm, asked for PMI.
  { rank: 'PMI_RANK', sizes: ['PMI_SIZE'], localRanks: ['MPI_LOCALRANKID', 'SLURM_LOCALID'] },
  { rank: 'SLURM_PROCID', sizes: ['SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'], localRanks: ['SLURM_LOCALID'] },
];

/** By these an MPI finds the launcher that it is started by. */
const MPI_CHANNELS = ['OMPI_COMM_WORLD_RANK', 'PMIX_RANK', 'PMI_RANK', 'PMI_FD', 'PMI_PORT'];

const MOST_RANKS = 1_000_000;

/**
 * As which of how many processes this one was started, as torchrun, mpirun, srun and others tell it by environment variables;
 * undefined where it was started by itself. Throws BAD_OPTION where variables contradict each other.
 */
export function findLaunch(env: Readonly<Record<string, string | undefined>> = process.env): Launch | undefined {
  // RANK alone, or WORLD_SIZE alone, may mean anything else.
  const tells = ({ rank, sizes }: Launcher) => isSet(env, rank) && (rank !== 'RANK' || isSet(env, sizes[0]!));
  const launcher = LAUNCHERS.find(tells);
  if (!launcher || isBatchScript(launcher, env)) return undefined;
  const sizeName = launcher.sizes.find((name) => isSet(env, name)) ?? launcher.sizes[0]!;
  const size = number(env, sizeName, 1, MOST_RANKS) ?? 1;
  const rank = number(env, launcher.rank, 0, MOST_RANKS)!;
  if (rank >= size) {
    const what = isSet(env, sizeName) ? `${sizeName} is ${size}` : `${sizeName} is not set`;
    throw new BtsError(
      'BAD_OPTION',
      `${launcher.rank} is ${rank}, and ${what}: expected a rank from 0 to size - 1. Set both, or neither.`,
    );
  }
  const localName = launcher.localRanks.find((name) => isSet(env, name));
  return {
    rank,
    size,
    localRank: (localName && number(env, localName, 0, MOST_RANKS)) || 0,
    masterAddress: env.MASTER_ADDR || firstHost(env.SLURM_STEP_NODELIST || env.SLURM_JOB_NODELIST),
    masterPort: number(env, 'MASTER_PORT', 1, 65_535) ?? portOfJob(env),
    hasMpi: hasMpi(launcher, env, rank, size),
    token: tokenOf(env),
  };
}

const isSet = (env: Environment, name: string) => env[name] !== undefined && env[name] !== '';

function number(env: Environment, name: string, least: number, most: number): number | undefined {
  if (!isSet(env, name)) return undefined;
  const value = /^\d{1,9}$/.test(env[name]!) ? Number(env[name]) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new BtsError(
    'BAD_OPTION',
    `the environment variable ${name} must be a whole number from ${least} to ${most}, not '${env[name]}'.`,
  );
}

/** Within sbatch and salloc, Slurm's variables speak of the job's tasks; processes are told who they are by srun alone. */
function isBatchScript({ rank }: Launcher, env: Environment): boolean {
  return rank === 'SLURM_PROCID' && isSet(env, 'SLURM_JOB_ID') && !isSet(env, 'SLURM_STEP_ID');
}

/** Of a list as Slurm writes it: 'node[03-07,12],gpu1'. */
function firstHost(list: string | undefined): string | undefined {
  const [, prefix, digits, suffix] = /^([^[,]+)(?:\[(\d+)[^\]]*\]([^,[]*))?/.exec(list ?? '') ?? [];
  return prefix && `${prefix}${digits ?? ''}${suffix ?? ''}`;
}

/**
 * What starts processes itself may have been started by mpirun or srun, whose channel is then that of one process of theirs: it
 * is believed only where it says the same.
 */
function hasMpi(launcher: Launcher, env: Environment, rank: number, size: number): boolean {
  if (launcher !== LAUNCHERS[0]) return MPI_CHANNELS.some((name) => isSet(env, name));
  const says = (name: string, value: number) => env[name] === `${value}`;
  return LAUNCHERS.slice(1, 3).some((other) => says(other.rank, rank) && says(other.sizes[0]!, size));
}

/** Slurm tells no port: one that jobs which run at the same time rarely share. */
function portOfJob(env: Environment): number | undefined {
  const [digits] = /\d{1,9}$/.exec(env.SLURM_JOB_ID ?? '') ?? [];
  return digits === undefined ? undefined : 20_000 + (Number(digits) % 12_000);
}

function tokenOf(env: Environment): string {
  const slurm = env.SLURM_JOB_ID && `slurm-${env.SLURM_JOB_ID}.${env.SLURM_STEP_ID ?? ''}`;
  // torchrun calls all runs so that have no id of their own.
  const run = env.TORCHELASTIC_RUN_ID !== 'none' && env.TORCHELASTIC_RUN_ID;
  return env.BTS_JOB_TOKEN || run || slurm || '';
}
