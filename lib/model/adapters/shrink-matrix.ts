/** The difference of one matrix of an expert to its hub's, as a product of two of low rank. */
import { type Abortable, BtsError } from '../../base/errors.js';
import { hash32, hashName } from '../../base/random.js';
import type { DenseCheckpoint } from '../../checkpoint/dense-checkpoint.js';
import type { ParameterSpec } from '../../checkpoint/names.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import { loadWhole } from '../transformer/load-weight.js';
import { addOuter } from './rows.js';
import { type TruncatedSvd, truncatedSvd } from './truncated-svd.js';

/** What it is made of, and what is left. */
export interface ShrunkMatrix extends TruncatedSvd {
  /** Of its tensor. */
  name: string;
  /** The sum of the squares of the difference, and of what is left of it beside the product. */
  total: number;
  rest: number;
}

/** How much of a difference is kept: what a rank holds, or the least rank that holds a share of its squares. */
export interface Size extends Abortable {
  rank?: number | undefined;
  energy?: number | undefined;
  /** Of the directions that are tried first. */
  seed: number;
}

/** A search for the rank that an energy takes begins here, and goes on with twice as much. */
const FIRST_RANK = 16;

type Pair = readonly [hub: DenseCheckpoint, expert: DenseCheckpoint];

/** Undefined where nothing but the precision differs. */
export async function shrinkMatrix(
  device: Device,
  [hub, expert]: Pair,
  spec: ParameterSpec,
  checked: Size,
): Promise<ShrunkMatrix | undefined> {
  using difference = await loadWhole(device, expert, spec.name);
  {
    using own = await loadWhole(device, hub, spec.name);
    device.run('add_scaled', { y: difference, x: own, scale: -1 });
  }
  const norm = await normOf(device, difference);
  if (!Number.isFinite(norm)) {
    for (const member of [hub, expert]) await expectFinite(device, member, spec.name);
    throw new BtsError(
      'BAD_CHECKPOINT',
      `'${expert.folder}': ${spec.name} is further from the hub's than f32 can tell.`,
    );
  }
  if (norm === 0) return undefined;
  const { left, right, energies } = await decomposed(device, difference, spec, norm ** 2, checked);
  try {
    using rest = device.full(spec.shape, 0);
    device.run('add_scaled', { y: rest, x: difference, scale: -1 });
    addOuter(device, rest, left, right);
    const sizes = { total: norm ** 2, rest: (await normOf(device, rest)) ** 2 };
    return { name: spec.name, left, right, energies, ...sizes };
  } catch (error) {
    left.dispose();
    right.dispose();
    throw error;
  }
}

/** A decomposition of the rank that is asked for, or of the least that has so much of the squares, `total` in all. */
async function decomposed(
  device: Device,
  difference: Tensor,
  { name, shape }: ParameterSpec,
  total: number,
  { rank, energy = 1, seed, signal }: Size,
): Promise<TruncatedSvd> {
  const most = Math.min(...shape);
  const own = hash32(seed, hashName(name));
  for (let tried = Math.min(rank ?? FIRST_RANK, most); ; tried = Math.min(2 * tried, most)) {
    const found = await truncatedSvd(device, difference, tried, own, { signal });
    if (rank !== undefined) return found;
    const least = rankOf(found.energies, energy * total);
    if (least !== undefined) return firstOf(found, least);
    if (tried === most) return found;
    found.left.dispose();
    found.right.dispose();
  }
}

function firstOf({ left, right, energies }: TruncatedSvd, rank: number): TruncatedSvd {
  using _left = left;
  using _right = right;
  return { left: left.slice(0, rank), right: right.slice(0, rank), energies: energies.slice(0, rank) };
}

/** The least rank whose squares come to so much. */
function rankOf(energies: Float64Array, wanted: number): number | undefined {
  let sum = 0;
  const at = energies.findIndex((energy) => {
    sum += energy;
    return sum >= wanted;
  });
  return at < 0 ? undefined : at + 1;
}

async function normOf(device: Device, tensor: Tensor): Promise<number> {
  using norm = device.empty([1]);
  device.run('global_norm', { norm, gradients: [tensor] });
  return await norm.item();
}

/** What an adapter has of a matrix that is the hub's. */
export function unchanged(device: Device, { name, shape: [outputs = 0, inputs = 0] }: ParameterSpec): ShrunkMatrix {
  const left = device.full([1, outputs], 0);
  try {
    return { name, left, right: device.full([1, inputs], 0), energies: Float64Array.of(0), total: 0, rest: 0 };
  } catch (error) {
    left.dispose();
    throw error;
  }
}

/** Throws BAD_CHECKPOINT unless a weight has finite numbers alone. */
export async function expectFinite(device: Device, checkpoint: DenseCheckpoint, name: string): Promise<void> {
  using weight = await loadWhole(device, checkpoint, name);
  if (Number.isFinite(await normOf(device, weight))) return;
  throw new BtsError('BAD_CHECKPOINT', `'${checkpoint.folder}': ${name} has values that are no finite numbers.`);
}
