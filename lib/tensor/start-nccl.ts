import { BtsError } from '../base/errors.js';
import { loadAddon, type NativeCommunicator } from './addon.js';
import type { Communicator } from './communicator.js';
import type { Device } from './device.js';
import type { Tensor } from './tensor.js';

/** Bytes of an announcement: native/communicator/announcement.h, rounded up. */
const ANNOUNCEMENT_BYTES = 512;

/** What the ranks of one communicator have in common. */
interface NcclGroup {
  /** Which one of them made. */
  id: string;
  /** What they are called among `of`. */
  names: readonly number[];
  of: number;
  seconds: number;
}

export const newNcclId = (): string => Buffer.from(loadAddon().ncclId()).toString('hex');

/** A communicator by NCCL, which is started by its first call. Throws COMMUNICATION, OUT_OF_MEMORY. */
export async function startNccl(
  { id, names, of, seconds }: NcclGroup,
  device: Device,
  rank: number,
  make: (native: NativeCommunicator, board: Tensor) => Communicator,
): Promise<Communicator> {
  const board = device.empty([(names.length * ANNOUNCEMENT_BYTES) / 4]);
  let native: NativeCommunicator | undefined;
  let communicator: Communicator | undefined;
  try {
    native = device.openNccl(Buffer.from(id, 'hex'), rank, names, of, board, seconds);
    native.place();
    communicator = make(native, board);
    await expectSum(communicator);
    return communicator;
  } catch (error) {
    // A group that did not come about is not one of the whole's any more, which cancels those it has.
    communicator?.dispose();
    native?.dispose();
    board.dispose();
    throw error;
  }
}

async function expectSum(communicator: Communicator): Promise<void> {
  using one = communicator.device.full([1], 1);
  communicator.allReduce([one]);
  const sum = await one.item();
  if (sum !== communicator.size)
    throw new BtsError('COMMUNICATION', `${communicator.size} ranks summed 1 to ${sum}: NCCL does not work here.`);
}
