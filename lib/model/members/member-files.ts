/** Members as they lie on the disk: whether they fit together, and whether they are still what they were. */
import { join, resolve } from 'node:path';
import { type Abortable, BtsError } from '../../base/errors.js';
import { exists } from '../../base/file.js';
import type { OptionNames } from '../../base/options-check.js';
import { type DenseCheckpoint, openCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { combineHashes, hashConfig, hashFile, hashTensors } from '../../checkpoint/hash.js';
import { MemberName, type StitchManifest } from '../../checkpoint/stitch-manifest.js';
import { hashTokenizer } from '../../data/tokenizer/definition.js';
import { expectSameShape } from './config-differences.js';

type ManifestMember = StitchManifest['members'][number];

/** A member whose files were checked; its weights are still on the disk. */
export interface OpenMember extends DenseCheckpoint {
  name: string;
  /** Null where the folder has no tokenizer. */
  tokenizerHash: string | null;
  /** What each of its tensors holds, where that was looked at: equal strings mean equal tensors. */
  contents?: ReadonlyMap<string, string>;
}

/** Opens the hub and its experts. Throws MEMBERS_DIFFER where they cannot be stitched, and what opening one throws. */
export async function openMembers(
  folders: readonly { name: string; path: string }[],
  signal?: AbortSignal,
): Promise<OpenMember[]> {
  const members: OpenMember[] = [];
  for (const { name, path } of folders) {
    const checkpoint = await openCheckpoint(path, { signal });
    members.push({ name, ...checkpoint, tokenizerHash: await hashTokenizer(path) });
  }
  expectOneTokenizer(members);
  expectSameShape(members);
  return members;
}

/** A hub and its experts, of whom a model is made. */
export interface Family extends Abortable {
  /** The hub's folder. */
  hub: string;
  /** The experts' folders by name, in order. */
  experts: Readonly<Record<string, string>>;
}

export const FAMILY_OPTIONS: OptionNames<Family> = { hub: true, experts: true, signal: true };

/** The same for a hub and its experts. Throws BAD_OPTION where there is no expert, or one cannot be called what it is, too. */
export async function openFamily({ hub, experts, signal }: Family): Promise<OpenMember[]> {
  const names = Object.keys(experts);
  if (names.length === 0) throw new BtsError('BAD_OPTION', 'at least one expert is needed beside the hub.');
  const wrong = names.find((name) => !MemberName.safeParse(name).success || name === 'hub');
  if (wrong !== undefined) {
    throw new BtsError(
      'BAD_OPTION',
      `'${wrong}' cannot name an expert: letters, digits, dot, dash and underscore, and not 'hub'.`,
    );
  }
  const members = Object.entries({ hub, ...experts }).map(([name, path]) => ({ name, path }));
  return await openMembers(members, signal);
}

/** What a stitched model remembers of a member, to know it again; the member's contents are known from then on. */
export async function describeMember(member: OpenMember, signal?: AbortSignal): Promise<ManifestMember> {
  member.contents = await hashTensors(member.folder, { signal });
  return {
    name: member.name,
    path: resolve(member.folder),
    config: await hashConfig(member.folder),
    weights: combineHashes(member.contents),
    tokenizer: member.tokenizerHash,
  };
}

/**
 * Returns what each of the member's tensors holds. Throws MEMBER_CHANGED unless its files mean what they meant, FILE_NOT_FOUND
 * where they are gone.
 */
async function expectUnchanged(member: ManifestMember, signal?: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const { name, path } = member;
  if (!(await exists(path))) {
    const message = `member '${name}' is not in '${path}' any more. Put it back, or correct its path in bts.json.`;
    throw new BtsError('FILE_NOT_FOUND', message);
  }
  const changed = (what: string) =>
    new BtsError(
      'MEMBER_CHANGED',
      `${what} of member '${name}' in '${path}' changed since it was stitched. Restore the original, or stitch anew.`,
    );
  if ((await hashConfig(path)) !== member.config) throw changed('the configuration');
  if (!(await hasTokenizer(path, member.tokenizer, signal))) throw changed('the tokenizer');
  const contents = await hashTensors(path, { signal });
  if (combineHashes(contents) !== member.weights) throw changed('the weights');
  return contents;
}

/** Whether the tokenizer in a folder is the one of that hash. */
async function hasTokenizer(folder: string, hash: string | null, signal?: AbortSignal): Promise<boolean> {
  const path = join(folder, 'tokenizer.json');
  if (!(await exists(path))) return hash === null;
  // Older manifests hold the hash of the file itself.
  if ((await hashFile(path, { signal })) === hash) return true;
  try {
    return (await hashTokenizer(folder)) === hash;
  } catch (error) {
    if (error instanceof BtsError && error.code === 'BAD_TOKENIZER') return false;
    throw error;
  }
}

/** Opens members that a model refers to, once they are known to be unchanged. Throws as the two above do. */
export async function openUnchanged(members: readonly ManifestMember[], signal?: AbortSignal): Promise<OpenMember[]> {
  const contents: ReadonlyMap<string, string>[] = [];
  for (const member of members) contents.push(await expectUnchanged(member, signal));
  const opened = await openMembers(members, signal);
  return opened.map((member, m) => ({ ...member, contents: contents[m]! }));
}

function expectOneTokenizer([hub, ...experts]: readonly OpenMember[]): void {
  const other = experts.find(
    ({ tokenizerHash }) => tokenizerHash && hub!.tokenizerHash && tokenizerHash !== hub!.tokenizerHash,
  );
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `the tokenizers of the hub ('${hub!.folder}') and of ${other.name} ('${other.folder}') differ: the same text would ` +
      'reach them as different tokens. Only models that share a tokenizer can be stitched.',
  );
}
