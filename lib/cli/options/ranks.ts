import { BtsError } from '../../base/errors.js';
import { findLaunch } from '../../base/launch.js';
import type { LanguageModel, LoadModelOptions } from '../../model/language-model.js';
import { isStitched, loadModel } from '../../model/load-model.js';
import { MemberParallelModel } from '../../model/member-parallel-model.js';
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

/** The model in a folder; on several ranks a stitched one, a member on each. Throws BAD_OPTION, and what loading it throws. */
export async function loadOnRanks(
  { device, communicator }: Ranks,
  folder: string,
  options: Omit<LoadModelOptions, 'trainable'>,
): Promise<LanguageModel> {
  if (communicator.size === 1) return await loadModel(device, folder, options);
  if (await isStitched(folder)) return await MemberParallelModel.load(device, folder, communicator, options);
  const message = `'${folder}' is no stitched model, and only of such each of ${communicator.size} processes can have a member: start one.`;
  throw new BtsError('BAD_OPTION', message);
}
