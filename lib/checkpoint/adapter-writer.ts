/** Adapters as PEFT writes them. */
import { join } from 'node:path';
import { writeJson } from '../base/file.js';
import { ADAPTER_WEIGHTS } from './adapter.js';
import { ADAPTER_CONFIG } from './adapter-config.js';
import { type TensorSource, writeSafetensors } from './safetensors-writer.js';

/** What differs from adapter to adapter. Modules have PEFT's names. */
export interface NewAdapter {
  /** What the base is called, as a rule its folder. */
  base: string;
  rank: number;
  /** Of B A, by `rank`. */
  alpha: number;
  /** Ends of the names of modules. */
  targets: readonly string[];
  /** Ranks of modules with another; their scale is 1. */
  ranks?: Readonly<Record<string, number>>;
  /** Ends of the names of modules that are saved whole. */
  saved?: readonly string[];
  /** Whether biases are. */
  biases?: boolean;
}

/** The adapter_config.json of a new adapter: the keys that PEFT has had from the beginning, for old versions refuse what they do not know. */
export function newAdapterConfig({ base, rank, alpha, targets, ranks = {}, saved = [], biases = false }: NewAdapter) {
  return {
    alpha_pattern: ranks,
    auto_mapping: null,
    base_model_name_or_path: base,
    bias: biases ? 'all' : 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: alpha,
    lora_dropout: 0,
    modules_to_save: saved.length > 0 ? saved : null,
    peft_type: 'LORA',
    r: rank,
    rank_pattern: ranks,
    revision: null,
    target_modules: targets,
    task_type: 'CAUSAL_LM',
  };
}

/**
 * Writes an adapter into a new, empty folder.
 *
 * @param config what adapter_config.json says
 * @param tensors with the names that PEFT gives them
 * @throws FILE_IO
 */
export async function writeAdapter(folder: string, config: object, tensors: Iterable<TensorSource>): Promise<void> {
  await writeJson(join(folder, ADAPTER_CONFIG), config);
  await writeSafetensors(join(folder, ADAPTER_WEIGHTS), tensors);
}
