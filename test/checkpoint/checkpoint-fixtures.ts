import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ModelConfig, parseConfig } from '../../lib/checkpoint/config.js';
import { parameterNames } from '../../lib/checkpoint/names.js';
import { type Dtype, tensorBytes } from '../../lib/checkpoint/safetensors-header.js';
import type { TensorSource } from '../../lib/checkpoint/safetensors-writer.js';
import { type WriteCheckpointOptions, writeCheckpoint } from '../../lib/checkpoint/shards.js';

/** The bytes of a safetensors file: the header length (or the one claimed), the header, then the data. */
export function safetensors(header: string | Uint8Array, dataBytes: number, claimedLength?: number | bigint): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(claimedLength ?? text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes, 7)]);
}

/** A tensor whose bytes are all `fill`. */
export function tensor(name: string, dtype: Dtype, shape: number[], fill = 0): TensorSource {
  return { name, dtype, shape, data: () => Promise.resolve(new Uint8Array(tensorBytes(dtype, shape)!).fill(fill)) };
}

export const TINY = {
  model_type: 'llama',
  vocab_size: 11,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
};

/** The tensors that a model of this configuration has, each filled with a byte of its own. */
export function parameters(config: ModelConfig, dtype: Dtype = 'F32'): TensorSource[] {
  return parameterNames(config).map(({ name, shape }, i) => tensor(name, dtype, [...shape], i + 1));
}

/** Writes `folder` with a config.json and these tensors, or those that the configuration asks for. */
export async function writeModel(
  folder: string,
  json: Record<string, unknown>,
  tensors: TensorSource[] = parameters(parseConfig(json, 'test')),
  options: WriteCheckpointOptions = {},
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config.json'), JSON.stringify(json));
  await writeCheckpoint(folder, tensors, options);
}
