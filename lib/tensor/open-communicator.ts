import { BtsError } from '../base/errors.js';
import type { Launch } from '../base/launch.js';
import { loadAddon, type NativeCommunicator, typed } from './addon.js';
import { findMpi } from './binary.js';
import { Communicator, type CommunicatorEngine, type HostValues } from './communicator.js';
import type { Device } from './device.js';
import { MpiValues, until } from './mpi-values.js';
import { meet } from './rendezvous.js';

/** Longer than one rank keeps the others waiting, who write no checkpoints. */
const TIMEOUT_S = 600;

/** Bytes of an announcement: native/communicator/announcement.h, rounded up. */
const ANNOUNCEMENT_BYTES = 512;

/**
 * The communicator of the processes that a launcher has started, on this one's device: by NCCL between GPUs, by MPI between CPUs;
 * of size 1 where there are no others. BTS_COMMUNICATOR, 'mpi' or 'nccl', chooses otherwise. Other ranks are given up after
 * BTS_COMMUNICATION_TIMEOUT seconds, by default 600. Throws COMMUNICATION, BAD_OPTION, ADDON_NOT_LOADED.
 *
 * @param device this process's own
 * @param launch what `findLaunch` found
 */
export async function openCommunicator(device: Device, launch: Launch | undefined): Promise<Communicator> {
  const asked = askedEngine();
  if (!launch || (launch.size === 1 && !asked)) return Communicator.alone(device);
  const seconds = timeoutSeconds();
  try {
    const engine = asked ?? (device.name.startsWith('cuda:') ? 'nccl' : 'mpi');
    return await (engine === 'nccl' ? openNccl(device, launch, seconds) : openMpi(device, launch, seconds));
  } catch (error) {
    throw typed(error);
  }
}

async function openMpi(device: Device, launch: Launch, seconds: number): Promise<Communicator> {
  const native = await startMpi(device, launch, seconds);
  return new Communicator(device, 'mpi', launch.rank, launch.size, native, new MpiValues(native));
}

/** The id of NCCL's communicator, and all values of the host, go through the launcher's own channel, which is MPI's, or through rank 0. */
async function openNccl(device: Device, launch: Launch, seconds: number): Promise<Communicator> {
  const { rank, size } = launch;
  const { nccl, ncclId } = loadAddon();
  nccl();
  const values = await openValues(device, launch, seconds);
  const board = device.empty([(size * ANNOUNCEMENT_BYTES) / 4]);
  let native: NativeCommunicator | undefined;
  try {
    const [id = ''] = await values.gather(rank === 0 ? Buffer.from(ncclId()).toString('hex') : '');
    native = device.openNccl(Buffer.from(id, 'hex'), rank, size, board, seconds);
    native.place();
    const communicator = new Communicator(device, 'nccl', rank, size, native, values, board);
    await expectSum(communicator);
    return communicator;
  } catch (error) {
    native?.dispose();
    values.dispose();
    board.dispose();
    throw error;
  }
}

/** NCCL is started by its first call. */
async function expectSum(communicator: Communicator): Promise<void> {
  using one = communicator.device.full([1], 1);
  communicator.allReduce([one]);
  const sum = await one.item();
  if (sum !== communicator.size)
    throw new BtsError('COMMUNICATION', `${communicator.size} ranks summed 1 to ${sum}: NCCL does not work here.`);
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
