import { join } from 'node:path';
import { exists } from '../checkpoint/file.js';
import { recoverFolder } from '../checkpoint/folder.js';
import type { Device } from '../tensor/device.js';
import { DenseModel } from './dense-model.js';
import type { LanguageModel } from './language-model.js';
import { StitchedModel } from './stitched-model.js';

/** Loads whatever lies in a folder, a dense checkpoint or a stitched model, frozen. Throws what the two throw. */
export async function loadModel(device: Device, folder: string): Promise<LanguageModel> {
  await recoverFolder(folder);
  return (await exists(join(folder, 'bts.json')))
    ? StitchedModel.load(device, folder)
    : DenseModel.load(device, folder);
}
