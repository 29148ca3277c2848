/** Members as they lie on the disk: whether they fit together, and whether they are still what they were. */
import { join, resolve } from 'node:path';
import { BtsError, throwIfAborted } from '../../base/errors.js';
import { exists } from '../../base/file.js';
import { type HashOptions, hashFile } from '../../base/file-hash.js';
import { recoverFolder } from '../../base/folder.js';
import type { OptionNames } from '../../base/options-check.js';
import { adapterContents, isAdapter } from '../../checkpoint/adapter.js';
import { type DenseCheckpoint, matchFolder, openAdapter, readConfig } from '../../checkpoint/dense-checkpoint.js';
import { combineHashes, hashConfig, hashTensors } from '../../checkpoint/hash.js';
import { readCheckpoint } from '../../checkpoint/shards.js';
import { MemberName, type StitchManifest } from '../../checkpoint/stitch-manifest.js';
import { findDefinition, type TokenizerDefinition } from '../../data/tokenizer/definition.js';
import { adapterAsHub, expectBase } from './adapter-base.js';
import { expectSameShape } from './config-differences.js';

/** What a model of several remembers of a member, to know it again. */
type KnownMember = StitchManifest['members'][number];

/** A member whose files were checked; its weights are still on the disk. */
export interface OpenMember extends DenseCheckpoint {
  name: string;
  /** Undefined where the folder has none. */
  tokenizer: TokenizerDefinition | undefined;
  /** What each tensor of its files holds: equal strings mean equal tensors. They are read when this is first asked. */
  contents: () => Promise<ReadonlyMap<string, string>>;
}

/**
 * Opens the hub and its experts, each file once, and holds them against each other; members that a model remembers must be
 * what they were.
 *
 * Throws MEMBERS_DIFFER where they cannot be stitched, MEMBER_CHANGED, and what opening a checkpoint throws.
 */
export async function openMembers(
  members: readonly (KnownMember | { name: string; path: string })[],
  options: HashOptions = {},
): Promise<OpenMember[]> {
  const opened: OpenMember[] = [];
  for (const member of members) {
    const [hub] = opened;
    opened.push(await ('weights' in member ? openKnown(member, hub, options) : openMember(member, hub, options)));
  }
  expectOneTokenizer(opened);
  expectSameShape(opened);
  return opened;
}

/** A hub and its experts, of whom a model is made. */
export interface Family extends HashOptions {
  /** The hub's folder. */
  hub: string;
  /** The experts' folders by name, in order. */
  experts: Readonly<Record<string, string>>;
}

export const FAMILY_OPTIONS: OptionNames<Family> = { hub: true, experts: true, verify: true, signal: true };

/** Opens a family. Throws BAD_OPTION where it has no expert, or one whose name cannot be one; and what `openMembers` throws. */
export async function openFamily({ hub, experts, ...options }: Family): Promise<OpenMember[]> {
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
  return await openMembers(members, options);
}

/** What a model of several is to remember of a member. */
export async function describeMember(member: OpenMember): Promise<KnownMember> {
  const { name, folder, config, tokenizer } = member;
  return {
    name,
    path: resolve(folder),
    config: hashConfig(config),
    weights: combineHashes(await member.contents()),
    tokenizer: tokenizer?.hash ?? null,
  };
}

async function openMember(
  { name, path }: { name: string; path: string },
  hub: OpenMember | undefined,
  options: HashOptions,
): Promise<OpenMember> {
  throwIfAborted(options.signal, `opening '${path}'`);
  await recoverFolder(path);
  if (await isAdapter(path)) {
    if (hub) return await openAdaptedHub(name, path, hub, options);
    throw adapterAsHub(path);
  }
  const config = await readConfig(path);
  const stored = await readCheckpoint(path);
  const checkpoint = await matchFolder(path, config, stored, options);
  const tokenizer = await findDefinition(path);
  return { name, ...checkpoint, tokenizer, contents: once(() => hashTensors(stored.values(), options)) };
}

/** The hub with an adapter, which must be one of it. Throws BAD_ADAPTER, and what reading an adapter throws. */
async function openAdaptedHub(name: string, path: string, hub: OpenMember, options: HashOptions): Promise<OpenMember> {
  const checkpoint = await openAdapter(path, hub);
  await expectBase(checkpoint, hub.folder, options);
  const contents = async () => {
    return new Map([...(await hub.contents()), ...(await adapterContents(checkpoint.adapter!, options))]);
  };
  return { name, ...checkpoint, tokenizer: await findDefinition(path), contents: once(contents) };
}

function once<T>(work: () => Promise<T>): () => Promise<T> {
  let result: Promise<T> | undefined;
  return () => {
    result ??= work();
    return result;
  };
}

/**
 * The same of a member that a model remembers. Throws MEMBER_CHANGED unless its files mean what they meant, FILE_NOT_FOUND
 * where they are gone, too.
 */
async function openKnown(member: KnownMember, hub: OpenMember | undefined, options: HashOptions): Promise<OpenMember> {
  const { name, path } = member;
  throwIfAborted(options.signal, `opening '${path}'`);
  await recoverFolder(path);
  if (!(await exists(path))) {
    const message = `member '${name}' is not in '${path}' any more. Put it back, or correct its path in bts.json.`;
    throw new BtsError('FILE_NOT_FOUND', message);
  }
  const changed = (what: string) =>
    new BtsError(
      'MEMBER_CHANGED',
      `${what} of member '${name}' in '${path}' changed since it was stitched. Restore the original, or stitch anew.`,
    );
  const adapted = hub !== undefined && (await isAdapter(path));
  // In the order of what they cost; and a checkpoint that changed may not fit its configuration any more.
  const config = adapted ? hub.config : await readConfig(path);
  if (hashConfig(config) !== member.config) throw changed('the configuration');
  const tokenizer = await findKnownTokenizer(member, options);
  if (tokenizer === 'changed') throw changed('the tokenizer');
  if (adapted) {
    const opened = await openAdaptedHub(name, path, hub, options);
    if (combineHashes(await opened.contents()) !== member.weights) throw changed('the adapter');
    return { ...opened, tokenizer };
  }
  const stored = await readCheckpoint(path);
  const contents = await hashTensors(stored.values(), options);
  if (combineHashes(contents) !== member.weights) throw changed('the weights');
  return { name, ...(await matchFolder(path, config, stored, options)), tokenizer, contents: async () => contents };
}

async function findKnownTokenizer({ path, tokenizer: hash }: KnownMember, options: HashOptions) {
  const file = join(path, 'tokenizer.json');
  // Older manifests hold the hash of the file itself.
  const isSameFile = async () => (await exists(file)) && (await hashFile(file, options)) === hash;
  try {
    const found = await findDefinition(path);
    return (found?.hash ?? null) === hash || (await isSameFile()) ? found : 'changed';
  } catch (error) {
    if (error instanceof BtsError && error.code === 'BAD_TOKENIZER' && !(await isSameFile())) return 'changed';
    throw error;
  }
}

function expectOneTokenizer([hub, ...experts]: readonly OpenMember[]): void {
  const other = experts.find(({ tokenizer }) => tokenizer && hub!.tokenizer && tokenizer.hash !== hub!.tokenizer.hash);
  if (!other) return;
  throw new BtsError(
    'MEMBERS_DIFFER',
    `the tokenizers of the hub ('${hub!.folder}') and of ${other.name} ('${other.folder}') differ: the same text would ` +
      'reach them as different tokens. Only models that share a tokenizer can be stitched.',
  );
}
