import { findLaunch } from '../../base/launch.js';
import { expectSame } from '../../tensor/agreement.js';
import type { Communicator } from '../../tensor/communicator.js';
import type { Device } from '../../tensor/device.js';
import { openCommunicator } from '../../tensor/open-communicator.js';
import { silence } from '../../terminal/output.js';
import { version } from '../version.js';
import { openDevice } from './open-device.js';
import type { DeviceValues } from './training-options.js';

/** This process among those that a launcher has started for one command. */
export interface Ranks extends Disposable {
  device: Device;
  communicator: Communicator;
  /** Of this process among those of its machine. */
  localRank: number;
}

/** What may be another on each rank: its device, and where its machine keeps tokenized text. */
const OWN = ['device', 'threads', 'cache'];

/**
 * Opens the device of this process and its way to the others, from where on all but rank 0 are silent. Throws BAD_OPTION where
 * they were not started with the same command, and what opening devices and communicators throws.
 */
export async function openRanks(command: string, values: DeviceValues): Promise<Ranks> {
  const launch = findLaunch();
  if (launch && launch.rank > 0) silence();
  const device = openDevice(values, launch);
  let communicator: Communicator | undefined;
  try {
    communicator = await openCommunicator(device, launch);
    const common = Object.entries(values).filter(([name]) => !OWN.includes(name));
    await expectSame(communicator, { version, command, ...Object.fromEntries(common) });
    return {
      ...{ device, communicator, localRank: launch?.localRank ?? 0 },
      [Symbol.dispose]() {
        communicator?.dispose();
        device.dispose();
      },
    };
  } catch (error) {
    communicator?.dispose();
    device.dispose();
    throw error;
  }
}
