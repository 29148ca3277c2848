/** What the weights of a model take as they are held, from shapes alone. */
import type { ModelConfig } from '../../checkpoint/model-config.js';
import { type ParameterSpec, parameterNames, type Role } from '../../checkpoint/names.js';
import { bytesOf as arrayBytes, type FloatType, isQuantized, type QuantizedType } from '../../tensor/addon.js';
import { MEMORY_DTYPES } from '../save.js';
import type { Trainable } from '../transformer/member.js';
import type { PackedTypes } from '../transformer/packed-types.js';
import { heldIn } from '../transformer/quantization.js';

/** A model, and what its matrices are held in: as their file has them, unless something else is said. */
export interface Held {
  config: ModelConfig;
  quantized?: QuantizedType | undefined;
  /** Of a model that others quantized what each matrix in codes is held in, by name; null, the default, for others. */
  packed?: PackedTypes | null | undefined;
}

/** What a weight is held in: codes of the file stay, whatever else is asked for. */
export function typeOf(spec: ParameterSpec, { config, quantized, packed }: Held): QuantizedType | FloatType {
  const own = packed?.[spec.name];
  if (own && isQuantized(own)) return own;
  return heldIn(spec, quantized) ?? own ?? MEMORY_DTYPES[config.dtype]!;
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

/** Bytes of those weights that `part` picks; default all. */
export function bytesOf(model: Held, part: Trainable = () => true): number {
  const specs = parameterNames(model.config).filter(part);
  return sum(specs.map((spec) => arrayBytes(typeOf(spec, model), spec.shape)));
}

const BF16_BYTES = 2;
/** One op multiplies with both, and widens both before. */
const TOGETHER: readonly Role[] = ['gate', 'up'];

/** The most that an op widens at once, of all members' matrices that are their own. */
export function wideningBytes(members: readonly (Held & { part?: Trainable | undefined })[]): number {
  const ofOps = new Map<string, number>();
  for (const { part = () => true, ...member } of members) {
    for (const spec of parameterNames(member.config).filter(part)) {
      if (!isQuantized(typeOf(spec, member))) continue;
      const inputs = spec.shape.at(-1)!;
      for (const { role, rows } of spec.parts) {
        const op = `${spec.layer} ${TOGETHER.includes(role) ? TOGETHER[0] : role}`;
        ofOps.set(op, (ofOps.get(op) ?? 0) + BF16_BYTES * rows * inputs);
      }
    }
  }
  return Math.max(0, ...ofOps.values());
}
