/** Systems of whole models side by side, the hub first: each runs on its own. */
import type { ReferringManifest } from '../../checkpoint/baseline-manifest.js';
import type { Device } from '../../tensor/device.js';
import { DenseModel, loadTokenizer } from '../dense-model.js';
import { describeMember, type Family, openFamily, openUnchanged } from '../members/member-files.js';

/** Describes the hub and its experts for a manifest. Throws MEMBERS_DIFFER and what opening a checkpoint throws. */
export async function describeMembers(family: Family) {
  const members = [];
  for (const member of await openFamily(family)) members.push(await describeMember(member, family.signal));
  return members;
}

/** Loads what a manifest refers to. Throws MEMBER_CHANGED and whatever loading a checkpoint throws. */
export async function loadMembers(device: Device, manifest: ReferringManifest, signal?: AbortSignal) {
  await openUnchanged(manifest.members, signal);
  const models: DenseModel[] = [];
  try {
    for (const { path } of manifest.members) models.push(await DenseModel.load(device, path, { signal }));
    return { models, tokenizer: await loadTokenizer(manifest.members[0]!.path, { signal }) };
  } catch (error) {
    for (const model of models) model.dispose();
    throw error;
  }
}
