/** Stitched models with more or fewer experts than one that was trained. */
import { join } from 'node:path';
import type { z } from 'zod';
import { BtsError } from '../base/errors.js';
import type { HashOptions } from '../base/file-hash.js';
import { checkOptions, expectOptions, parseOptions } from '../base/options-check.js';
import { choice } from '../base/schema.js';
import { readSafetensors } from '../checkpoint/safetensors.js';
import { MemberName, type Placement, readManifest } from '../checkpoint/stitch-manifest.js';
import type { Device } from '../tensor/device.js';
import { describeMember, openMembers } from './members/member-files.js';
import { noExpert, STITCHES, StitchedModel } from './stitched-model.js';
import { type StitchDesign, stitchDesign } from './stitches/kinds/index.js';
import { StitchLayer } from './stitches/stitch-layer.js';
import { QUANTIZE_OPTIONS, type QuantizeOptions, quantizeOptions } from './transformer/quantization.js';

export const addOptions = {
  /** What is trained: all stitches (default), or what belongs to the new experts alone. */
  train: choice(['all', 'new']).default('all').meta({
    description: 'What --steps trains: all stitches, or what belongs to the new experts alone',
  }),
};
export interface AddOptions extends z.input<z.ZodObject<typeof addOptions>>, HashOptions, QuantizeOptions {}
/** How experts are taken out. */
export interface RemoveOptions extends HashOptions, QuantizeOptions {}

/**
 * A stitched model with more experts, to be trained: all of it, or what belongs to the new experts alone. It computes what
 * it computed before, to the bit, until `openGates` lets the new experts be heard. Members stay held as the model remembers, unless
 * something else is asked for. The folder and all members are only read.
 * Throws what `create` and `load` throw.
 *
 * @param folder the stitched model's folder
 * @param experts folders of the new experts by name
 */
export async function addExperts(
  device: Device,
  folder: string,
  experts: Readonly<Record<string, string>>,
  options: AddOptions = {},
): Promise<StitchedModel> {
  const checked = checkOptions('addExperts', { ...addOptions, ...quantizeOptions }, options, {
    verify: true,
    signal: true,
  });
  const { train, members: all, quantize, verify, signal } = checked;
  const before = await readManifest(folder);
  const added = Object.entries(experts).map(([name, path]) => ({ name, path }));
  const names = before.members.map(({ name }) => name);
  const taken = added.find(({ name }) => names.includes(name) || !MemberName.safeParse(name).success);
  if (taken)
    throw new BtsError('BAD_OPTION', `'${taken.name}' cannot name a new expert: there are ${names.join(', ')}.`);
  const opened = await openMembers([...before.members, ...added], { verify, signal });
  const members = [...before.members];
  // An adapter has its matrices in common with the hub, and is held as that is.
  for (const member of opened.slice(members.length))
    members.push({ ...(await describeMember(member)), ...(member.adapter && { held: before.members[0]!.held }) });
  const { tensors } = await readSafetensors(join(folder, STITCHES));
  const manifest = { ...before, members, gateBias: true };
  const grow = (placement: Placement, index: number, { shape }: StitchDesign) => {
    const old = stitchDesign(before, before.members.length, shape.width);
    using stitch = StitchLayer.load(device, placement, index, old, { tensors, trainable: false });
    return stitch.grow(device, added.length);
  };
  const trainOnly = train === 'new' ? Object.keys(experts) : undefined;
  return await StitchedModel.assemble(device, manifest, opened, grow, { trainOnly, members: all, quantize, signal });
}

/**
 * Loads a stitched model without some of its experts, whose slices of the gates and projections are dropped, to be trained
 * further. Throws BAD_OPTION for a name that is no expert's, and what `load` throws.
 *
 * @param folder the stitched model's folder
 * @param names experts to leave out
 */
export async function removeExperts(
  device: Device,
  folder: string,
  names: readonly string[],
  options: RemoveOptions = {},
): Promise<StitchedModel> {
  expectOptions('removeExperts', options, { verify: true, signal: true, ...QUANTIZE_OPTIONS });
  const { members, quantize, verify, signal } = options;
  parseOptions(quantizeOptions, { members, quantize });
  const before = await readManifest(folder);
  const missing = names.find((name) => !before.members.slice(1).some((member) => member.name === name));
  if (missing !== undefined) throw noExpert(missing, before);
  const kept = before.members.map((_, m) => m).filter((m) => !names.includes(before.members[m]!.name));
  const manifest = { ...before, members: kept.map((m) => before.members[m]!) };
  if (kept.length < 2) throw new BtsError('BAD_OPTION', 'without its last expert nothing is stitched: use the hub.');
  const opened = await openMembers(manifest.members, { verify, signal });
  const { tensors } = await readSafetensors(join(folder, STITCHES));
  const shrink = (placement: Placement, index: number, { shape }: StitchDesign) => {
    const old = stitchDesign(before, before.members.length, shape.width);
    using stitch = StitchLayer.load(device, placement, index, old, { tensors, trainable: false });
    return stitch.select(device, kept, { trainable: true });
  };
  return await StitchedModel.assemble(device, manifest, opened, shrink, { members, quantize, signal });
}
