import { configToJson } from '../../../lib/checkpoint/config.js';
import { readConfig } from '../../../lib/checkpoint/dense-checkpoint.js';
import { matchCheckpoint, parameterNames } from '../../../lib/checkpoint/names.js';
import type { TensorEntry } from '../../../lib/checkpoint/safetensors.js';
import { CONFIGS } from '../../support/models.js';
import { Bytes } from '../bytes.js';
import { editedJson } from '../json-edits.js';
import { expectTyped, put, type Target } from '../target.js';

const configs = Object.values(CONFIGS).map(configToJson);
const rope = { rope_type: 'longrope', factor: 4, short_factor: [1, 1], long_factor: [2, 2] };
const SEEDS = [...configs, { ...configs[0], rope_scaling: { ...rope, original_max_position_embeddings: 32 } }];
const GENERATION = [{ eos_token_id: [1, 2], bos_token_id: 0 }];

const FAMILIES = Object.keys(CONFIGS) as (keyof typeof CONFIGS)[];

/** The weights that each family's tiny model has. */
const STORED = FAMILIES.map((family): ReadonlyMap<string, TensorEntry> => {
  const specs = parameterNames(CONFIGS[family]);
  return new Map(
    specs.map(({ name, shape }) => [
      name,
      { name, dtype: 'F32', shape: [...shape], path: '', offset: 0, bytes: 0, stamp: '' },
    ]),
  );
});

export const target: Target = {
  words: [...new Set(SEEDS.flatMap((config) => Object.keys(config)))].map((key) => `"${key}"`),
  seeds: () => SEEDS.map((_, seed) => Buffer.of(seed % FAMILIES.length, 0, 0, seed)),
  async run(data, folder) {
    const bytes = new Bytes(data);
    const stored = bytes.pick(STORED);
    const generation = bytes.below(8) === 7 ? editedJson(bytes, GENERATION) : '{}';
    await put(folder, 'config.json', editedJson(bytes, SEEDS));
    await put(folder, 'generation_config.json', generation);
    await expectTyped(['BAD_CONFIG', 'BAD_CHECKPOINT'], async () => {
      matchCheckpoint(await readConfig(folder), stored, folder);
    });
  },
};
