import { BtsError } from '../base/errors.js';
import type { Launch } from '../base/launch.js';
import { loadAddon, type NativeCommunicator, typed } from './addon.js';
import { findMpi } from './binary.js';
import { Communicator, type CommunicatorEngine, type HostValues } from './communicator.js';
import type { Device } from './device.js';
import { MpiValues, until } from './mpi-values.js';
import { meet } from './rendezvous/index.js';
import { newNcclId, startNccl } from './start-nccl.js';

/** Longer than one rank keeps the others waiting, who write no checkpoints. */
const TIMEOUT_S = 600;

/**
 * The communicator of the processes that a launcher has started, on this one's device: by NCCL between GPUs, by MPI between CPUs,
 * and between GPUs where a rank has no NCCL; of size 1 where there are no others. BTS_COMMUNICATOR, 'mpi' or 'nccl', chooses otherwise. Other ranks are given up after
 * BTS_COMMUNICATION_TIMEOUT seconds, by default 600. Throws COMMUNICATION, BAD_OPTION, ADDON_NOT_LOADED.
 *
 * @param device this process's own
 * @param launch what `findLaunch` found
 */
export async function openCommunicator(device: Device, launch: Launch | undefined): Promise<Communicator> {
  const asked = askedEngine();
  if (!launch || (launch.size === 1 && !asked)) return Communicator.alone(device);
  if (opened && !opened.disposed && !opened.device.disposed)
    throw new BtsError('BAD_OPTION', 'this process has a communicator already: dispose it before another is opened.');
  const seconds = timeoutSeconds();
  const isNccl = asked ? asked === 'nccl' : device.name.startsWith('cuda:');
  try {
    opened = await (isNccl ? openNccl(device, launch, seconds, !asked) : openMpi(device, launch, seconds));
    return opened;
  } catch (error) {
    throw typed(error);
  }
}

/** The launcher has told of one. */
let opened: Communicator | undefined;

async function openMpi(device: Device, launch: Launch, seconds: number): Promise<Communicator> {
  const native = await startMpi(device, launch, seconds);
  return new Communicator(device, 'mpi', launch.rank, launch.size, native, new MpiValues(native), undefined, seconds);
}

/**
 * The id of NCCL's communicator, and all values of the host, go through the launcher's own channel, which is MPI's, or through rank 0.
 * Where a rank has no NCCL, all of them may take MPI.
 */
async function openNccl(device: Device, launch: Launch, seconds: number, mayTakeMpi: boolean): Promise<Communicator> {
  const { rank, size } = launch;
  const values = await openValues(device, launch, seconds);
  try {
    const faults = await values.gather(whyNotNccl() ?? '');
    const without = faults.findIndex((fault) => fault !== '');
    if (without >= 0 && mayTakeMpi && launch.hasMpi) {
      values.dispose();
      return await openMpi(device, launch, seconds);
    }
    if (without >= 0) throw new BtsError('ADDON_NOT_LOADED', `on rank ${without} of ${size}: ${faults[without]}`);
    const [id = ''] = await values.gather(rank === 0 ? newNcclId() : '');
    const names = Array.from({ length: size }, (_, rank) => rank);
    return await startNccl({ id, names, of: size, seconds }, device, rank, (native, board) => {
      return new Communicator(device, 'nccl', rank, size, native, values, board, seconds);
    });
  } catch (error) {
    values.dispose();
    throw error;
  }
}

function whyNotNccl(): string | undefined {
  try {
    loadAddon().nccl();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

async function openValues(device: Device, launch: Launch, seconds: number): Promise<HostValues> {
  const { rank, size, masterAddress: address, masterPort: port, token } = launch;
  if (size === 1) return { gather: (text) => Promise.resolve([text]), dispose: () => undefined };
  if (launch.hasMpi && hasMpiEngine()) return new MpiValues(await startMpi(device, launch, seconds));
  if (address !== undefined && port !== undefined) return meet({ rank, size, address, port, token, seconds });
  throw new BtsError(
    'COMMUNICATION',
    `this is rank ${rank} of ${size}, and nothing tells where rank 0 is: set MASTER_ADDR to its machine and MASTER_PORT to a port that is free there, or start by mpirun with the MPI engine ('npm run build:mpi').`,
  );
}

function hasMpiEngine(): boolean {
  try {
    findMpi();
    return true;
  } catch {
    return false;
  }
}

/** MPI as the launcher has started it. */
async function startMpi(device: Device, launch: Launch, seconds: number): Promise<NativeCommunicator> {
  if (!launch.hasMpi)
    throw new BtsError(
      'COMMUNICATION',
      `this is rank ${launch.rank} of ${launch.size}, and its launcher has no channel by which MPI could be started. Start processes on CPUs by mpirun, or by srun with --mpi=pmix.`,
    );
  const path = findMpi();
  const native = device.openMpi(path, seconds);
  try {
    const { rank, size } = await until(() => native.place());
    expectSame(launch, rank, size, loadAddon().mpi(path));
    finalizeAtExit(path);
    return native;
  } catch (error) {
    native.dispose();
    throw error;
  }
}

function expectSame(launch: Launch, rank: number, size: number, library: string): void {
  if (rank === launch.rank && size === launch.size) return;
  throw new BtsError(
    'COMMUNICATION',
    `the launcher started this process as rank ${launch.rank} of ${launch.size}, and ${library}, which the MPI engine was built with, as rank ${rank} of ${size}: start it by that MPI's own mpirun, or build the engine anew by 'npm run build:mpi'.`,
  );
}

let finalizes = false;

/** A process that fails ends without: its launcher then ends the others, who would wait for it. */
function finalizeAtExit(path: string): void {
  if (finalizes) return;
  finalizes = true;
  process.once('exit', (code) => {
    if (code === 0) loadAddon().finalizeMpi(path);
  });
}

function askedEngine(): Exclude<CommunicatorEngine, 'none'> | undefined {
  const name = process.env.BTS_COMMUNICATOR || undefined;
  if (name === undefined || name === 'mpi' || name === 'nccl') return name;
  throw new BtsError('BAD_OPTION', `the environment variable BTS_COMMUNICATOR must be 'mpi' or 'nccl', not '${name}'.`);
}

function timeoutSeconds(): number {
  const text = process.env.BTS_COMMUNICATION_TIMEOUT;
  if (!text) return TIMEOUT_S;
  const seconds = Number(text);
  if (seconds > 0 && seconds < 1e9) return seconds;
  throw new BtsError(
    'BAD_OPTION',
    `the environment variable BTS_COMMUNICATION_TIMEOUT must be a number of seconds above 0, not '${text}'.`,
  );
}
