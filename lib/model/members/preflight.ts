import { realpath } from 'node:fs/promises';
import { BtsError, type ErrorCode } from '../../base/errors.js';
import type { HashOptions } from '../../base/file-hash.js';
import { expectOptions } from '../../base/options-check.js';
import { adapterContents, adapterTensors, isAdapter } from '../../checkpoint/adapter.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { type DenseCheckpoint, openAdapter, openCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import { combineHashes, hashCheckpoint } from '../../checkpoint/hash.js';
import { isFloats, partsOf } from '../../checkpoint/packed/matrix.js';
import type { Tokenizer } from '../../data/tokenizer.js';
import { type AdapterCost, adapterCost } from '../cost/adapter-cost.js';
import { parameterCount } from '../cost/cost.js';
import { loadTokenizer } from '../dense-model.js';
import { type PackedTypes, packedTypes, widenedMessage } from '../transformer/packed-types.js';
import { adapterAsHub, baseDoubt, expectBase } from './adapter-base.js';
import { configDifferences } from './config-differences.js';
import { vocabularyFault } from './vocabulary.js';

/** Something that keeps models from being stitched, or that their owner should know. */
export interface Finding {
  /** What cannot be, or what to be careful of. */
  level: 'error' | 'warning';
  /** Stable: `DIFFERENT_LAYERS` and so on, or the code of the error that opening a checkpoint ended with. */
  code: string;
  /** Whom it is about. */
  member: string;
  /** One sentence or two. */
  message: string;
}

/** A hub or expert, as far as it could be read. */
export interface CheckedMember {
  /** The expert's, or `hub`. */
  name: string;
  /** As it was given. */
  folder: string;
  /** Null where the checkpoint cannot be read. */
  config: ModelConfig | null;
  /** All of them; null where the checkpoint cannot be read. */
  parameters: number | null;
  /** Of an adapter what it adds to the hub's cost. */
  adapter: AdapterCost | null;
  /** Of a checkpoint that others quantized: what each matrix in codes is held in, by name; null for others. */
  packed: PackedTypes | null;
}

/** Whether models can be stitched, and at what cost. */
export interface Preflight {
  /** All that was found, what cannot be first. */
  findings: Finding[];
  /** The hub first. */
  members: CheckedMember[];
}

export interface PreflightOptions extends HashOptions {
  /** Reads all weights to find members that are equal; default true. */
  contents?: boolean;
}

interface OpenMember {
  name: string;
  folder: string;
  checkpoint: DenseCheckpoint;
  config: ModelConfig;
  /** Null where there is none, undefined where it cannot be read. */
  tokenizer: Tokenizer | null | undefined;
}

/** All errors among the findings as one to throw; undefined where the members can be stitched. */
export function refusal({ findings }: Preflight): BtsError | undefined {
  const errors = findings.filter(({ level }) => level === 'error');
  if (errors.length === 0) return undefined;
  const unreadable = errors.find(({ code }) => !/^(DIFFERENT_|NO_TOKENIZER)/.test(code));
  const messages = errors.map(({ message }) => message).join(' ');
  return new BtsError(
    (unreadable?.code as ErrorCode) ?? 'MEMBERS_DIFFER',
    `these models cannot be stitched. ${messages}`,
  );
}

type Report = (finding: Finding) => void;

/**
 * Holds experts against their hub without loading weights, and reports all that differs at once. What cannot be stitched is
 * an error, what can but may surprise a warning. Throws ABORTED only: what else goes wrong is in the findings.
 *
 * @param hub the hub's folder
 * @param experts the experts' folders by name
 */
export async function preflight(
  hub: string,
  experts: Readonly<Record<string, string>>,
  options: PreflightOptions = {},
): Promise<Preflight> {
  expectOptions('preflight', options, { contents: true, verify: true, signal: true });
  const { contents = true, ...hashing } = options;
  const findings: Finding[] = [];
  const report: Report = (finding) => findings.push(finding);
  const folders = [['hub', hub], ...Object.entries(experts)] as const;
  const opened: (OpenMember | undefined)[] = [];
  for (const [name, folder] of folders) opened.push(await openMember(name, folder, opened[0], report, hashing));
  const [first, ...rest] = opened;
  const readable = rest.filter((member) => member !== undefined);
  if (first) {
    if (first.tokenizer === null) {
      const message = `'${hub}' has no tokenizer.json: no text can be turned into tokens. Put the hub's tokenizer there.`;
      report({ level: 'error', code: 'NO_TOKENIZER', member: 'hub', message });
    }
    for (const expert of readable) {
      compareConfigs(first, expert, report);
      compareTokenizers(first, expert, report);
    }
  }
  const all = opened.filter((member) => member !== undefined);
  await findDuplicates(all, { contents, ...hashing }, report);
  return {
    findings: findings.sort((a, b) => (a.level < b.level ? -1 : a.level > b.level ? 1 : 0)),
    members: folders.map(([name, folder], i) => {
      const { config = null, checkpoint } = opened[i] ?? {};
      const adapter = checkpoint?.adapter ? adapterCost(checkpoint.config, checkpoint.adapter) : null;
      const parameters = adapter?.parameters ?? (config && parameterCount(config));
      return { name, folder, config, parameters, adapter, packed: checkpoint ? packedTypes(checkpoint.tensors) : null };
    }),
  };
}

async function openMember(
  name: string,
  folder: string,
  hub: OpenMember | undefined,
  report: Report,
  options: HashOptions,
): Promise<OpenMember | undefined> {
  const error = (cause: unknown) => {
    if (!(cause instanceof BtsError) || cause.code === 'ABORTED') throw cause;
    report({ level: 'error', code: cause.code, member: name, message: cause.message });
  };
  try {
    const checkpoint = await openBeside(hub, folder, options);
    const doubt = hub && (await baseDoubt(checkpoint, hub.folder));
    if (doubt) report({ level: 'warning', code: 'UNKNOWN_BASE', member: name, message: `${name} ${doubt}` });
    const { dtypes, config } = withStoredDtype(checkpoint);
    if (dtypes.length > 1) {
      const message = `the weights of ${name} are partly ${dtypes.join(', partly ')}; each keeps its precision.`;
      report({ level: 'warning', code: 'MIXED_DTYPES', member: name, message });
    }
    const widened = checkpoint.adapter ? undefined : widenedMessage(name, checkpoint);
    if (widened) report({ level: 'warning', code: 'WIDENED', member: name, message: widened });
    let tokenizer: Tokenizer | null | undefined;
    try {
      tokenizer = (await loadTokenizer(folder, { signal: options.signal })) ?? null;
    } catch (cause) {
      error(cause);
    }
    const fault = tokenizer && vocabularyFault(config, tokenizer, name);
    if (fault) {
      const code = fault.level === 'error' ? 'BAD_TOKENIZER' : 'TOKENS_BEYOND_EMBEDDING';
      report({ ...fault, code, member: name });
    }
    return { name, folder, checkpoint, config, tokenizer };
  } catch (cause) {
    error(cause);
    return undefined;
  }
}

/** A checkpoint, or an adapter of the hub. */
async function openBeside(hub: OpenMember | undefined, folder: string, options: HashOptions): Promise<DenseCheckpoint> {
  if (!(await isAdapter(folder))) return await openCheckpoint(folder, options);
  if (!hub) throw adapterAsHub(folder);
  const checkpoint = await openAdapter(folder, hub.checkpoint);
  await expectBase(checkpoint, hub.folder, options);
  return checkpoint;
}

/** The configuration with the precision that most weights have, whatever config.json says. */
function withStoredDtype({ config, tensors }: DenseCheckpoint) {
  const bytes = new Map<string, number>();
  for (const { dtype, shape } of [...tensors.values()].filter(isFloats)) {
    bytes.set(dtype, (bytes.get(dtype) ?? 0) + shape.reduce((product, size) => product * size, 1));
  }
  const dtypes = [...bytes].sort((a, b) => b[1] - a[1]).map(([dtype]) => dtype);
  return { dtypes, config: { ...config, dtype: dtypes[0] as ModelConfig['dtype'] } };
}

function compareConfigs(hub: OpenMember, expert: OpenMember, report: Report): void {
  for (const { key, mayDiffer, message } of configDifferences(hub.config, expert.config, expert.name)) {
    const code = `DIFFERENT_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
    report({ level: mayDiffer ? 'warning' : 'error', code, member: expert.name, message });
  }
}

function compareTokenizers(hub: OpenMember, expert: OpenMember, report: Report): void {
  const [own, hubs] = [expert.tokenizer, hub.tokenizer];
  const { name: member } = expert;
  if (own === null && !expert.checkpoint.adapter) {
    const message = `${member} has no tokenizer.json: whether it reads tokens as the hub does cannot be checked.`;
    report({ level: 'warning', code: 'NO_TOKENIZER', member, message });
  }
  if (!own || !hubs) return;
  if (own.hash !== hubs.hash) {
    report({ level: 'error', code: 'DIFFERENT_TOKENIZER', member, message: tokenizerDifference(member, own, hubs) });
  }
  const roles = [
    ['begins', own.bosToken, hubs.bosToken],
    ['ends', own.eosToken, hubs.eosToken],
  ] as const;
  for (const [does, ownToken, hubToken] of roles) {
    if (ownToken === hubToken) continue;
    const message = `the token that ${does} a text: ${ownToken ?? 'none'} in ${member}, ${hubToken ?? 'none'} in the hub. The hub's is used.`;
    report({ level: 'warning', code: 'DIFFERENT_SPECIAL_TOKENS', member, message });
  }
}

function tokenizerDifference(member: string, own: Tokenizer, hubs: Tokenizer): string {
  const size = Math.max(own.vocabularySize, hubs.vocabularySize);
  const differing = Array.from({ length: size }, (_, id) => id).filter(
    (id) => own.idToToken(id) !== hubs.idToToken(id),
  );
  const first = differing[0];
  if (first === undefined) {
    return `tokenizer: ${member} has the hub's tokens, but its tokenizer.json or tokenizer_config.json turn text into them by other rules.`;
  }
  const spell = (tokenizer: Tokenizer) => JSON.stringify(tokenizer.idToToken(first));
  return (
    `tokenizer: ${differing.length} of ${size} tokens differ, such as ${first}, which is ${spell(own)} in ${member}, ` +
    `${spell(hubs)} in the hub. The same text would reach them as different tokens.`
  );
}

async function findDuplicates(
  members: readonly OpenMember[],
  { contents, ...hashing }: PreflightOptions,
  report: Report,
): Promise<void> {
  const seen: { name: string; place: string; shape: string; hash: () => Promise<string>; weights?: string }[] = [];
  for (const { name, folder, checkpoint } of members) {
    const place = await realpath(folder);
    const { adapter } = checkpoint;
    const tensors = adapter ? adapterTensors(adapter) : [...checkpoint.tensors.values()].flatMap(partsOf);
    const shape = JSON.stringify(tensors.map(({ name, dtype, shape }) => [name, dtype, shape]));
    const hash = async () =>
      adapter ? combineHashes(await adapterContents(adapter, hashing)) : await hashCheckpoint(place, hashing);
    const entry = { name, place, shape, hash };
    const sameFolder = seen.find((other) => other.place === place);
    if (sameFolder) {
      const message = `${name} is the same folder as ${sameFolder.name}: it adds nothing.`;
      report({ level: 'warning', code: 'DUPLICATE_FOLDER', member: name, message });
      continue;
    }
    seen.push(entry);
  }
  if (!contents) return;
  for (const [i, entry] of seen.entries()) {
    // Members of different shape cannot be equal: their weights need not be read.
    if (!seen.some((other) => other !== entry && other.shape === entry.shape)) continue;
    entry.weights = await entry.hash();
    const equal = seen.slice(0, i).find(({ weights }) => weights === entry.weights);
    if (!equal) continue;
    const message = `${entry.name} has exactly the weights of ${equal.name}: it adds nothing.`;
    report({ level: 'warning', code: 'DUPLICATE_WEIGHTS', member: entry.name, message });
  }
}
