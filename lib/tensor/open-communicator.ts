import { BtsError } from '../base/errors.js';
import type { Launch } from '../base/launch.js';
import { loadAddon, typed } from './addon.js';
import { findMpi } from './binary.js';
import { Communicator, until } from './communicator.js';
import type { Device } from './device.js';

/** Longer than one rank keeps the others waiting, who write no checkpoints. */
const TIMEOUT_S = 600;

/**
 * The communicator of the processes that a launcher has started, on this one's device: by MPI; of size 1 where there are no others.
 * Other ranks are given up after BTS_COMMUNICATION_TIMEOUT seconds, by default 600. Throws COMMUNICATION, BAD_OPTION,
 * ADDON_NOT_LOADED.
 */
export async function openCommunicator(device: Device, launch: Launch | undefined): Promise<Communicator> {
  if (!launch || launch.size === 1) return Communicator.alone(device);
  const seconds = timeoutSeconds();
  if (!launch.hasMpi)
    throw new BtsError(
      'COMMUNICATION',
      `this is rank ${launch.rank} of ${launch.size}, and its launcher has no channel by which MPI could be started. Start CPU processes by mpirun, or by srun with --mpi=pmix.`,
    );
  const path = findMpi();
  const native = device.openCommunicator(path, seconds);
  try {
    const { rank, size } = await until(() => native.place());
    expectSame(launch, rank, size, loadAddon().mpi(path));
    finalizeAtExit(path);
    return new Communicator(device, 'mpi', rank, size, native);
  } catch (error) {
    native.dispose();
    throw typed(error);
  }
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
