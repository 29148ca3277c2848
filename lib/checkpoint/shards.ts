import { basename, join } from 'node:path';
import { z } from 'zod';
import { check } from '../base/check.js';
import { BtsError } from '../base/errors.js';
import { exists, readJson, writeJson } from '../base/file.js';
import { readSafetensors, type TensorEntry } from './safetensors.js';
import { badSafetensors, quote } from './safetensors-header.js';
import { sourceBytes, type TensorSource, writeSafetensors } from './safetensors-writer.js';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';

// A file name and no path: a shard lies in the folder itself, never above it or elsewhere.
const Shard = z.string().refine((name) => isFileName(name), {
  error: (issue) => `a shard must be a plain file name, not ${quote(String(issue.input))}`,
});
const isFileName = (name: string) =>
  basename(name) === name && !['', '.', '..'].includes(name) && !name.includes('\0') && Buffer.byteLength(name) <= 255;
const Index = z.object({ weight_map: z.record(z.string(), Shard) });

/**
 * Finds every tensor of a Hugging Face checkpoint: `model.safetensors`, or else the shards that
 * `model.safetensors.index.json` lists, which must agree with it name by name. Reads headers only.
 *
 * @throws FILE_NOT_FOUND, FILE_IO, BAD_SAFETENSORS
 */
export async function readCheckpoint(folder: string): Promise<Map<string, TensorEntry>> {
  if (await exists(join(folder, SINGLE))) return (await readSafetensors(join(folder, SINGLE))).tensors;
  if (await exists(join(folder, INDEX))) return readShards(folder);
  throw new BtsError(
    'FILE_NOT_FOUND',
    `'${folder}' has neither ${SINGLE} nor ${INDEX}. Only safetensors checkpoints are read: convert others first.`,
  );
}

async function readShards(folder: string): Promise<Map<string, TensorEntry>> {
  const path = join(folder, INDEX);
  const fail = (reason: string) => new BtsError('BAD_SAFETENSORS', `'${path}' is not a valid index: ${reason}.`);
  const index = check(Index, await readJson(path, 'BAD_SAFETENSORS'), fail);
  const shardOf = new Map(Object.entries(index.weight_map));
  if (shardOf.size === 0) throw fail('it lists no tensors');

  const tensors = new Map<string, TensorEntry>();
  for (const shard of new Set(shardOf.values())) {
    const file = await readSafetensors(join(folder, shard));
    for (const [name, entry] of file.tensors) {
      if (shardOf.get(name) !== shard) {
        const place = shardOf.has(name) ? `in ${quote(shardOf.get(name)!)}` : 'nowhere';
        throw badSafetensors(file.path, `it holds tensor ${quote(name)}, which ${INDEX} puts ${place}`);
      }
      tensors.set(name, entry);
    }
  }
  for (const [name, shard] of shardOf) {
    if (!tensors.has(name)) throw badSafetensors(join(folder, shard), `it lacks tensor ${quote(name)} of ${INDEX}`);
  }
  return tensors;
}

export interface WriteCheckpointOptions {
  /** Shards are filled up to this many bytes of tensor data; a larger tensor gets one of its own. Default 5e9. */
  maxShardBytes?: number;
}

/**
 * Writes a Hugging Face checkpoint's weights into an existing folder that has none yet: one `model.safetensors`, or
 * shards with their index, cut where Hugging Face's own code cuts them.
 *
 * @throws BAD_OPTION, FILE_NOT_FOUND, FILE_IO
 */
export async function writeCheckpoint(
  folder: string,
  tensors: Iterable<TensorSource>,
  { maxShardBytes = 5e9 }: WriteCheckpointOptions = {},
): Promise<void> {
  if (!(maxShardBytes > 0)) throw new BtsError('BAD_OPTION', `maxShardBytes must be above 0, got ${maxShardBytes}.`);
  const all = [...tensors];
  if (new Set(all.map(({ name }) => name)).size < all.length) {
    throw new BtsError('BAD_OPTION', 'two tensors of a checkpoint have the same name.');
  }
  const shards = cut(all, maxShardBytes);
  if (shards.length <= 1) return writeSafetensors(join(folder, SINGLE), all);

  const number = (n: number) => String(n).padStart(5, '0');
  const shardOf: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await writeSafetensors(join(folder, file), shard);
    for (const { name } of shard) shardOf.push([name, file]);
  }
  const totalBytes = all.reduce((sum, tensor) => sum + sourceBytes(tensor), 0);
  shardOf.sort(([a], [b]) => (a < b ? -1 : 1));
  // Last, so that a folder without it is visibly unfinished.
  await writeJson(join(folder, INDEX), {
    metadata: { total_size: totalBytes },
    weight_map: Object.fromEntries(shardOf),
  });
}

/** As Hugging Face does: in the order given, an oversized tensor standing alone without ending the current shard. */
function cut(tensors: TensorSource[], maxShardBytes: number): TensorSource[][] {
  const shards: TensorSource[][] = [];
  let current: TensorSource[] = [];
  let filled = 0;
  for (const tensor of tensors) {
    const bytes = sourceBytes(tensor);
    if (bytes > maxShardBytes) {
      shards.push([tensor]);
      continue;
    }
    if (filled + bytes > maxShardBytes) {
      shards.push(current);
      current = [];
      filled = 0;
    }
    current.push(tensor);
    filled += bytes;
  }
  if (current.length > 0) shards.push(current);
  return shards;
}
