/** What compressed-tensors says of a model's matrices. */
import { z } from 'zod';
import { check, type Fail } from '../../base/check.js';
import { show } from '../../base/show.js';
import { count, MAX_INT32 } from '../families/keys.js';
import type { PackedLayout, Packing, Scheme } from './scheme.js';

const MOST_ENTRIES = 4096;

/** Names of modules, or expressions for them. */
export const Modules = z.array(z.string().max(10_000)).max(MOST_ENTRIES);

const Weights = z.looseObject({
  num_bits: z.union([z.literal(4), z.literal(8)], { error: 'expected 4 or 8' }),
  type: z.literal('int', { error: 'expected int: other numbers are not read' }).default('int'),
  symmetric: z.boolean().default(true),
  strategy: z.enum(['tensor', 'channel', 'group'], { error: 'expected tensor, channel or group' }).nullish(),
  group_size: z.union([z.literal(-1), count(MAX_INT32)]).nullish(),
  actorder: z.union([z.string(), z.boolean()]).nullish(),
});

const Group = z.looseObject({
  targets: Modules,
  weights: Weights,
  input_activations: z.looseObject({ dynamic: z.union([z.boolean(), z.string()]).default(false) }).nullish(),
  output_activations: z.null({ error: 'activations that are rounded behind a layer are not read' }).optional(),
  format: z.string().nullish(),
});

const Keys = z.looseObject({
  config_groups: z
    .record(z.string(), Group)
    .refine((groups) => Object.keys(groups).length <= MOST_ENTRIES, `expected ${MOST_ENTRIES} groups at most`),
  format: z.string().optional(),
  ignore: Modules.nullish(),
  kv_cache_scheme: z.null({ error: 'a cache in few bits is not read' }).optional(),
  sparsity_config: z.looseObject({ format: z.string().default('dense') }).nullish(),
});

const LAYOUTS: Readonly<Record<string, PackedLayout>> = { 'pack-quantized': 'packed', 'int-quantized': 'bytes' };

export function readCompressed(json: object, fail: Fail): Packing {
  const keys = check(Keys, json, fail);
  const sparsity = keys.sparsity_config?.format ?? 'dense';
  if (sparsity !== 'dense') throw fail(`sparsity_config of the format ${show(sparsity)} is not read: dense is`);
  const schemes = Object.values(keys.config_groups).map((group) => {
    const format = group.format ?? keys.format;
    const layout = format === undefined ? undefined : LAYOUTS[format];
    if (!layout) throw fail(`format ${show(format)} is not read: ${Object.keys(LAYOUTS).join(' and ')} are`);
    // What is rounded on the way is left as it is, but scales that were fixed for it say that it has to be.
    if (group.input_activations && group.input_activations.dynamic !== true)
      throw fail('input_activations with scales of their own are not read: dynamic ones are');
    return { targets: group.targets, scheme: schemeOf(group.weights, layout, fail) };
  });
  if (schemes.length === 0) throw fail('config_groups is empty');
  return { method: 'compressed-tensors', schemes, ignored: keys.ignore ?? [] };
}

function schemeOf(weights: z.output<typeof Weights>, layout: PackedLayout, fail: Fail): Scheme {
  const { num_bits: bits, symmetric, group_size: size, actorder } = weights;
  if (layout === 'bytes' && bits !== 8) throw fail(`num_bits ${bits} in int-quantized is not read: 8 is`);
  const strategy = weights.strategy ?? (size == null ? 'tensor' : size === -1 ? 'channel' : 'group');
  const grouped = size != null && size !== -1;
  if ((strategy === 'group') !== grouped)
    throw fail(`strategy ${strategy} and group_size ${show(size)} contradict each other`);
  return {
    layout,
    bits,
    groupSize: grouped ? size : null,
    perTensor: strategy === 'tensor',
    symmetric,
    zeroOffset: 0,
    // 'weight', or 'static', is the order in which codes were found, and leaves nothing behind.
    ordered: actorder === true || actorder === 'group' || actorder === 'dynamic',
  };
}
