/** Adapters as PEFT writes them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Random } from '../../lib/base/random.js';
import { writeSafetensors } from '../../lib/checkpoint/safetensors-writer.js';

/** What PEFT 0.21 writes into an adapter_config.json beside what is given. */
export const PEFT_DEFAULTS = {
  peft_type: 'LORA',
  task_type: 'CAUSAL_LM',
  base_model_name_or_path: 'someone/base',
  r: 2,
  lora_alpha: 4,
  target_modules: ['q_proj', 'v_proj'] as string[] | string,
  bias: 'none',
  fan_in_fan_out: false,
  use_dora: false,
  use_rslora: false,
  inference_mode: true,
  init_lora_weights: true,
  lora_dropout: 0,
  loftq_config: {},
  rank_pattern: {},
  alpha_pattern: {},
  megatron_core: 'megatron.core',
  qalora_group_size: 16,
};

export interface FloatTensor {
  shape: number[];
  data: Float32Array;
}

/** Numbers between -scale and scale. */
export function numbers(shape: number[], seed: number, scale = 0.5): FloatTensor {
  const random = new Random(seed, 'adapter');
  const size = shape.reduce((product, length) => product * length, 1);
  return { shape, data: Float32Array.from({ length: size }, () => scale * (2 * random.uniform() - 1)) };
}

export async function writeAdapter(
  folder: string,
  config: object,
  tensors: Record<string, FloatTensor>,
): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ ...PEFT_DEFAULTS, ...config }));
  await writeSafetensors(
    join(folder, 'adapter_model.safetensors'),
    Object.entries(tensors).map(([name, { shape, data }]) => ({
      name: `base_model.model.${name}`,
      dtype: 'F32' as const,
      shape,
      data: async () => new Uint8Array(data.buffer),
    })),
  );
  return folder;
}

/** Both matrices of modules [O, I], by module. */
export function lowRank(modules: Record<string, [outputs: number, inputs: number, rank: number]>, seed: number) {
  const tensors: Record<string, FloatTensor> = {};
  for (const [i, [module, [outputs, inputs, rank]]] of Object.entries(modules).entries()) {
    tensors[`${module}.lora_A.weight`] = numbers([rank, inputs], 2 * i + 1000 * seed);
    tensors[`${module}.lora_B.weight`] = numbers([outputs, rank], 2 * i + 1 + 1000 * seed);
  }
  return tensors;
}
