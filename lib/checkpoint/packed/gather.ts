/** Which tensors of a folder are one matrix in codes. */
import { BtsError } from '../../base/errors.js';
import type { ModelConfig } from '../model-config.js';
import { type ParameterSpec, parameterNames, rolesOf } from '../names.js';
import { readTensor, type TensorEntry } from '../safetensors.js';
import { quote } from '../safetensors-header.js';
import { type Complain, checkShapes, expectTensor, FLOATS } from './check-shapes.js';
import { isInOrder, readIntegers } from './integers.js';
import { ownCodes, type PackedMatrix, type Stored } from './matrix.js';
import { type PackedLayout, type Packing, type Scheme, schemesOf } from './scheme.js';

/** What a module's tensors are called behind its name. */
interface Names {
  codes: string;
  scales: string;
  zeros: string;
  groups: string;
  shape?: string;
}
const AUTO: Names = { codes: 'qweight', scales: 'scales', zeros: 'qzeros', groups: 'g_idx' };
const COMPRESSED = { scales: 'weight_scale', zeros: 'weight_zero_point', groups: 'weight_g_idx' };
const NAMES: Record<PackedLayout, Names> = {
  gptq: AUTO,
  awq: AUTO,
  packed: { codes: 'weight_packed', shape: 'weight_shape', ...COMPRESSED },
  bytes: { codes: 'weight', ...COMPRESSED },
};

type Tensors = ReadonlyMap<string, TensorEntry>;

const moduleOf = (name: string) => name.replace(/\.weight$/, '');

/**
 * The tensors of a folder, with one matrix in the place of those that it consists of. Throws BAD_CHECKPOINT where they contradict each
 * other or config.json, FILE_IO.
 */
export async function gatherPacked(
  config: ModelConfig,
  stored: Tensors,
  folder: string,
): Promise<ReadonlyMap<string, Stored>> {
  const { packing } = config;
  if (!packing) return stored;
  const all = new Map<string, Stored>(stored);
  const specs = parameterNames(config);
  const known = new Set(specs.map(({ name }) => name));
  const matrices = specs.filter(({ shape }) => shape.length === 2);
  const modules = matrices.map(({ name }) => moduleOf(name));
  const schemes = schemesOf(
    packing,
    modules,
    (reason) => new BtsError('BAD_CHECKPOINT', `'${folder}': quantization_config: ${reason}.`),
  );
  for (const spec of matrices) {
    const module = moduleOf(spec.name);
    const fail: Complain = (reason) => new BtsError('BAD_CHECKPOINT', `'${folder}': ${quote(module)} ${reason}.`);
    const scheme = packedAs(packing, schemes.get(module), spec, stored, fail);
    if (!scheme) continue;
    const matrix = await gather(scheme, spec, stored, fail);
    for (const name of Object.values(NAMES[scheme.layout])) all.delete(`${module}.${name}`);
    const bias = stored.get(`${module}.bias`);
    if (bias && !known.has(bias.name)) {
      await expectZero(bias, spec.shape[0]!, fail);
      all.delete(bias.name);
    }
    all.set(spec.name, matrix);
  }
  return all;
}

/** How a matrix is packed, of which config.json says `scheme`; undefined: it is in floats. */
function packedAs(
  packing: Packing,
  scheme: Scheme | undefined,
  spec: ParameterSpec,
  stored: Tensors,
  fail: Complain,
): Scheme | undefined {
  const module = moduleOf(spec.name);
  const hasCodes = packing.schemes.some(({ scheme: { layout } }) => {
    const entry = stored.get(`${module}.${NAMES[layout].codes}`);
    return entry && (layout !== 'bytes' || entry.dtype === 'I8');
  });
  const isEmbedding = rolesOf(spec).includes('embedding');
  if (!hasCodes) {
    if (packing.method === 'compressed-tensors' && scheme && !isEmbedding && stored.has(spec.name))
      throw fail('is quantized by config.json, but its weight is in floats');
    return undefined;
  }
  if (isEmbedding) throw fail('is quantized: of embeddings that is not supported');
  if (!scheme) throw fail('is in codes, but config.json says that it was left as it was');
  if (scheme.layout !== 'bytes' && stored.has(spec.name)) throw fail('has its weight in codes and in floats');
  return scheme;
}

async function gather(
  scheme: Scheme,
  { name, shape }: ParameterSpec,
  stored: Tensors,
  fail: Complain,
): Promise<PackedMatrix> {
  const names = NAMES[scheme.layout];
  const find = (part: string) => stored.get(`${moduleOf(name)}.${part}`);
  const need = (part: string) => {
    const entry = find(part);
    if (entry) return entry;
    throw fail(`lacks its tensor ${quote(part)}`);
  };
  const needsZeros = scheme.layout === 'gptq' || scheme.layout === 'awq' || !scheme.symmetric;
  const parts = {
    codes: need(names.codes),
    scales: need(names.scales),
    zeros: needsZeros ? need(names.zeros) : find(names.zeros),
  };
  checkShapes(scheme, shape as [number, number], parts, fail);
  if (names.shape !== undefined) {
    const said = await readWhole(need(names.shape), 2, fail);
    if (`${said}` !== `${shape}`) throw fail(`says in ${names.shape} that it is [${said}], not [${shape}]`);
  }
  const order = find(names.groups);
  const groups = await readGroups(scheme, shape[1]!, order, fail);
  const matrix = { name, shape: [...shape], scheme, ...parts, groups, order };
  return { ...matrix, held: ownCodes(matrix) };
}

/** The group of each input, where they are not in order. */
async function readGroups(
  { layout, groupSize, ordered }: Scheme,
  inputs: number,
  entry: TensorEntry | undefined,
  fail: Complain,
): Promise<Int32Array | undefined> {
  if (!entry) {
    if (!ordered || groupSize === null) return undefined;
    throw fail('lacks the groups of its inputs, which are out of order by config.json');
  }
  const groups = await readWhole(entry, inputs, fail);
  const isUnset = (layout === 'packed' || layout === 'bytes') && groups.every((group) => group === -1);
  const size = groupSize ?? inputs;
  if (isUnset || isInOrder(groups, size)) return undefined;
  const counts = new Array<number>(inputs / size).fill(0);
  for (const group of groups) {
    if (counts[group] === undefined) throw fail(`has an input in group ${group} of ${counts.length}`);
    counts[group]++;
  }
  if (!ordered) throw fail(`has inputs out of order in ${quote(entry.name)}, which they are not by config.json`);
  const uneven = counts.findIndex((count) => count !== size);
  if (uneven >= 0) throw fail(`has ${counts[uneven]} inputs in group ${uneven} of ${quote(entry.name)}, not ${size}`);
  return Int32Array.from(groups);
}

/** Integers in one row of so many. */
async function readWhole(entry: TensorEntry, length: number, fail: Complain): Promise<number[]> {
  expectTensor(entry, ['I32', 'I64'], [[length]], fail);
  return await readIntegers(entry);
}

/** Throws unless a bias that the family does not have is zero: some programs write one for every matrix that they quantize. */
async function expectZero(bias: TensorEntry, outputs: number, fail: Complain): Promise<void> {
  expectTensor(bias, FLOATS, [[outputs]], fail);
  const bytes = await readTensor(bias);
  const width = bias.dtype === 'F32' ? 4 : 2;
  const isZero = bytes.every((byte, i) => (i % width === width - 1 ? byte & 0x7f : byte) === 0);
  if (!isZero) throw fail('has a bias, which this family has not, and it is not zero');
}
