/** Full experts as adapters: of the difference of each matrix to the hub's, what is nearest among those of low rank. */
import type { z } from 'zod';
import { BtsError, throwIfAborted } from '../../base/errors.js';
import type { HashOptions } from '../../base/file-hash.js';
import { checkOptions } from '../../base/options-check.js';
import { choice, commaList, count, fraction, seed } from '../../base/schema.js';
import { isMatrixOfLayer } from '../../checkpoint/adapter.js';
import type { ModelConfig } from '../../checkpoint/model-config.js';
import { type ParameterSpec, parameterNames, rolesOf } from '../../checkpoint/names.js';
import { contentOf, isPacked } from '../../checkpoint/packed/matrix.js';
import type { Device } from '../../tensor/device.js';
import { configDifferences } from '../members/config-differences.js';
import { type OpenMember, openFamily } from '../members/member-files.js';
import { expectSameWeights } from '../members/same-weights.js';
import { expectFinite, type ShrunkMatrix, type Size, shrinkMatrix, unchanged } from './shrink-matrix.js';
import { endsOf, ShrunkExpert } from './shrunk-expert.js';

/** What of a model has no low rank. */
export const WHOLE = ['embeddings', 'head', 'norms', 'biases'] as const;
/** A part of a model that has no low rank. */
export type WholePart = (typeof WHOLE)[number];

const wholeOf = (role: string): WholePart => {
  if (role === 'embedding') return 'embeddings';
  if (role === 'head') return 'head';
  return role.endsWith('Norm') ? 'norms' : 'biases';
};

export const shrinkOptions = {
  /** R, of every matrix; those with a shorter side have that. */
  rank: count().optional().meta({ description: 'Rank of every matrix; of one with a shorter side, that side' }),
  /** In place of a rank: the least for each matrix that keeps this share of its difference's squares. */
  energy: fraction().optional().meta({
    description: 'In place of a rank: the least for each matrix that keeps this share of the squares of its difference',
  }),
  /** What keeps its weights as they are, where they differ from the hub's; what is not named becomes the hub's. Default: all. */
  whole: commaList(choice([...WHOLE, 'none']))
    .optional()
    .meta({
      description: `What is kept whole, as it has no low rank: ${WHOLE.join(', ')}, several with commas between, or none; the rest becomes the hub's (default: all)`,
      argument: 'parts',
    }),
  /** Of the directions that are tried first; default 0. */
  seed: seed().meta({ description: 'Of the directions that are tried first' }),
};

/** How an expert becomes an adapter: with a rank or an energy. */
export interface ShrinkOptions extends Omit<z.input<z.ZodObject<typeof shrinkOptions>>, 'whole'>, HashOptions {
  /** The folder of the model that the expert descends from. */
  hub: string;
  /** What keeps its weights as they are, where they differ from the hub's; default: all that has no low rank. */
  whole?: readonly (WholePart | 'none')[];
  /** Called behind each of the matrices. */
  onProgress?: (done: number, matrices: number) => void;
}

const OTHERS = { hub: true, onProgress: true, verify: true, signal: true } as const;

/**
 * Makes an adapter of a full expert by a truncated singular value decomposition of each matrix's difference to the hub's. One matrix
 * is in memory at a time; what comes of it stays there until the result is disposed. The same seed gives the same numbers.
 *
 * Throws MEMBERS_DIFFER for models of different shape or tokenizer, BAD_OPTION for equal ones, for a rank that no matrix has and on
 * a device that rounds products to bf16, BAD_ADAPTER for what adapters cannot hold, BAD_CHECKPOINT for weights that are no numbers,
 * OUT_OF_MEMORY, ABORTED, and what opening checkpoints throws.
 *
 * @param device of the precision f32
 * @param expert the expert's folder
 */
export async function shrinkExpert(device: Device, expert: string, options: ShrinkOptions): Promise<ShrunkExpert> {
  const checked = checkOptions('shrinkExpert', shrinkOptions, options, OTHERS);
  const { hub, verify, signal, onProgress, whole = WHOLE } = checked;
  const [base, full] = (await openFamily({ hub, experts: { expert }, verify, signal })) as [OpenMember, OpenMember];
  expectSameWeights([base, full]);
  expectSameArithmetic(base, full);
  const matrices = parameterNames(base.config).filter(isMatrixOfLayer);
  checkSize(checked, matrices);
  if (device.precision !== 'f32') {
    throw new BtsError('BAD_OPTION', "shrinkExpert decomposes in f32: open the device with { precision: 'f32' }.");
  }

  const differing = await differingWeights([base, full]);
  const { kept, dropped } = wholeWeights(base.config, differing, whole);
  expectUntied(full, kept);
  expectFloats(full, kept);
  for (const { name } of kept) await expectFinite(device, full, name);
  const changed = matrices.filter(({ name }) => differing.has(name));
  const shrunk: ShrunkMatrix[] = [];
  try {
    for (const [i, spec] of changed.entries()) {
      throwIfAborted(signal, 'shrinking an expert');
      const matrix = await shrinkMatrix(device, [base, full], spec, checked);
      if (matrix) shrunk.push(matrix);
      onProgress?.(i + 1, changed.length);
    }
    if (shrunk.length === 0) {
      const message = `no matrix of '${expert}' differs from that of the hub in '${hub}': there is nothing to make an adapter of.`;
      throw new BtsError('BAD_OPTION', message);
    }
    // What an adapter names by the ends of names it has in all layers.
    const ends = new Set(endsOf(shrunk));
    for (const spec of matrices.filter((spec) => ends.has(endsOf([spec])[0]!))) {
      if (!shrunk.some(({ name }) => name === spec.name)) shrunk.push(unchanged(device, spec));
    }
    return new ShrunkExpert(device, { base, expert: full, matrices: shrunk, kept, dropped });
  } catch (error) {
    for (const { left, right } of shrunk) {
      left.dispose();
      right.dispose();
    }
    throw error;
  }
}

/** Throws BAD_OPTION. */
function checkSize({ rank, energy }: Size, matrices: readonly ParameterSpec[]): void {
  if ((rank === undefined) === (energy === undefined)) {
    throw new BtsError('BAD_OPTION', 'an expert is shrunk either to a rank or to an energy: give one of the two.');
  }
  const most = Math.max(...matrices.map(({ shape }) => Math.min(...shape)));
  if (rank === undefined || rank <= most) return;
  throw new BtsError('BAD_OPTION', `rank ${rank} is more than any matrix of these models has: ${most} at most.`);
}

/** The tensors that are not the same bytes in both. */
async function differingWeights([hub, expert]: readonly [OpenMember, OpenMember]): Promise<Set<string>> {
  const [ofHub, ofExpert] = [await hub.contents(), await expert.contents()];
  const names = parameterNames(hub.config).map(({ name }) => name);
  const content = ({ tensors }: OpenMember, contents: ReadonlyMap<string, string>, name: string) =>
    contentOf(tensors.get(name)!, contents);
  const isSame = (name: string) =>
    !expert.adapter?.lowRank.has(name) && content(hub, ofHub, name) === content(expert, ofExpert, name);
  return new Set(names.filter((name) => !isSame(name)));
}

/** Of the weights without a low rank that differ, those that are kept, with those that PEFT names together with them; and the others. */
function wholeWeights(config: ModelConfig, differing: ReadonlySet<string>, parts: readonly string[]) {
  const all = parameterNames(config).filter((spec) => !isMatrixOfLayer(spec));
  const changed = all.filter(({ name }) => differing.has(name));
  const isWanted = (spec: ParameterSpec) => parts.includes(wholeOf(rolesOf(spec)[0]!));
  const ends = new Set(changed.filter(isWanted).map((spec) => endsOf([spec])[0]!));
  const kept = all.filter((spec) => isWanted(spec) && ends.has(endsOf([spec])[0]!));
  return { kept, dropped: changed.filter((spec) => !kept.includes(spec)) };
}

/** Throws MEMBERS_DIFFER where the expert computes otherwise with the same weights. */
function expectSameArithmetic(hub: OpenMember, expert: OpenMember): void {
  const differences = configDifferences(hub.config, expert.config, 'the expert').filter(({ key }) =>
    ['rope', 'windowedRope', 'logitSoftcap'].includes(key),
  );
  if (differences.length === 0) return;
  const messages = differences.map(({ message }) => message).join(' ');
  throw new BtsError(
    'MEMBERS_DIFFER',
    `an adapter computes as its hub does, but '${expert.folder}' differs. ${messages}`,
  );
}

/** Throws BAD_ADAPTER for an embedding that is the head as well: PEFT's files have no place for it. */
function expectUntied({ folder, config }: OpenMember, kept: readonly ParameterSpec[]): void {
  if (!config.embedding.tied || !kept.some((spec) => rolesOf(spec).includes('embedding'))) return;
  const others = WHOLE.filter((part) => part !== 'embeddings' && part !== 'head').join(',');
  throw new BtsError(
    'BAD_ADAPTER',
    `the embedding of '${folder}' is its head, too, and differs from the hub's: no adapter can hold it. Leave it the hub's (whole: ${others}).`,
  );
}

/** Throws BAD_ADAPTER for a head in codes: PEFT's files have no place for it. */
function expectFloats({ folder, tensors }: OpenMember, kept: readonly ParameterSpec[]): void {
  const packed = kept.find(({ name }) => isPacked(tensors.get(name)!));
  if (!packed) return;
  throw new BtsError(
    'BAD_ADAPTER',
    `${packed.name} of '${folder}' is in codes, and differs from the hub's: no adapter can hold it. Leave it the hub's (whole).`,
  );
}
