import { BtsError } from '../../base/errors.js';
import { readManifest, type StitchManifest } from '../../checkpoint/stitch-manifest.js';
import type { MemberParallelModel } from '../../model/member-parallel-model.js';
import { type StitchedLoadOptions, StitchedModel } from '../../model/stitched-model.js';
import type { Device } from '../../tensor/device.js';

/** A checkpoint of a stitched model. Throws BAD_OPTION where its members are to be held in other bits than it was trained with. */
export const resumed = (device: Device, checkpoint: string, options: StitchedLoadOptions): Promise<StitchedModel> =>
  sameBits(checkpoint, () => StitchedModel.load(device, checkpoint, options));

/** What is loaded of a checkpoint. Throws BAD_OPTION where members are held in other bits than it was trained with. */
export async function sameBits<Model extends StitchedModel | MemberParallelModel>(
  checkpoint: string,
  load: () => Promise<Model>,
): Promise<Model> {
  const manifest = await readManifest(checkpoint);
  const model = await load();
  // Of checkpoints of older versions it is not known.
  if (manifest.members.every(({ held }) => held === undefined)) return model;
  const [begun, now] = [describe(manifest), describe(model.manifest)];
  if (now === begun) return model;
  model.dispose();
  throw new BtsError(
    'BAD_OPTION',
    `cannot resume: members are to be held as ${now}, in '${checkpoint}' they are ${begun}. Leave out --members and --quantize, or ` +
      'use those that the run began with.',
  );
}

const describe = ({ members }: StitchManifest): string =>
  members.map(({ name, held = 'files' }) => `${name}=${held}`).join(' ');
