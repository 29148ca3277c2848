import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { BtsError, fileError } from '../base/errors.js';
import { flush, readRegion } from '../base/file.js';
import { makeFolders } from '../base/folder.js';

/** Changes whenever the same text could give other shards: an older cache is then not found, and is made anew. */
export const CACHE_FORMAT = 2;

const count = z.number().int().nonnegative();
const side = z.strictObject({
  documents: count,
  shards: z.array(z.strictObject({ tokens: count.min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});
const cacheIndex = z.strictObject({
  format: z.literal(CACHE_FORMAT),
  tokenBytes: z.union([z.literal(2), z.literal(4)]),
  split: z.strictObject({ unit: z.enum(['document', 'piece']), threshold: z.number() }),
  train: side,
  heldOut: side,
});

/** What `index.json` beside the shards says. */
export type CacheIndex = z.infer<typeof cacheIndex>;
export type Side = 'train' | 'heldOut';

export function shardPath(folder: string, side: Side, shard: number): string {
  return join(folder, `${side === 'train' ? 'train' : 'held-out'}-${String(shard).padStart(5, '0')}.bin`);
}

/** SHA-256 of a file's content, in hexadecimal, all of which is read: it may be damaged. @throws FILE_NOT_FOUND, FILE_IO, ABORTED */
export async function digestFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await readRegion({ path, offset: 0 }, (chunk) => hash.update(chunk), signal);
  return hash.digest('hex');
}

/** A cache that was found or made. */
export interface Cache {
  folder: string;
  index: CacheIndex;
}

/** The intact cache of `key` in `parent`, if any; damaged ones are removed. @throws FILE_IO, ABORTED */
export async function findCache(parent: string, key: string, signal?: AbortSignal): Promise<Cache | undefined> {
  for (const name of await list(parent)) {
    if (!name.startsWith(`${key}-`) || name.endsWith('.tmp')) continue;
    const folder = join(parent, name);
    const index = await readCache(folder, signal);
    if (index) return { folder, index };
    await remove(folder);
  }
  return undefined;
}

/**
 * Makes the cache of `key` in `parent`: `write` fills a temporary folder, which is then renamed to a name of its own, so
 * that others see the whole or nothing, and none ever replaces what another is reading. Where another process was
 * faster, its cache is taken.
 *
 * @throws FILE_IO, and what `write` throws; nothing is left behind then
 */
export async function writeCache(
  parent: string,
  key: string,
  write: (folder: string) => Promise<CacheIndex>,
): Promise<Cache> {
  const folder = join(parent, `${key}-${randomUUID().slice(0, 8)}`);
  const temporary = `${folder}.${hostname()}.${process.pid}.tmp`;
  try {
    await makeFolders(parent);
    await mkdir(temporary);
    const index = await write(temporary);
    await writeFile(join(temporary, 'index.json'), `${JSON.stringify(index, null, 2)}\n`, { flush: true });
    await flush(temporary);
    const other = await findCache(parent, key);
    if (other) return other;
    await rename(temporary, folder);
    await flush(parent);
    return { folder, index };
  } catch (error) {
    throw fileError(error, temporary, 'Writing prepared tokens');
  } finally {
    // Should this fail, the next call cleans up.
    await remove(temporary).catch(() => {});
  }
}

/** The index of the cache in `folder`, or undefined where any of its files is damaged or missing. */
async function readCache(folder: string, signal?: AbortSignal): Promise<CacheIndex | undefined> {
  try {
    const index = cacheIndex.parse(JSON.parse(await readFile(join(folder, 'index.json'), 'utf8')));
    for (const side of ['train', 'heldOut'] as const) {
      for (const [shard, { sha256 }] of index[side].shards.entries()) {
        if ((await digestFile(shardPath(folder, side, shard), signal)) !== sha256) return undefined;
      }
    }
    return index;
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) return undefined;
    const known = fileError(error, folder, 'Reading prepared tokens');
    if (known instanceof BtsError && known.code === 'FILE_NOT_FOUND') return undefined;
    throw known;
  }
}

/** Removes what processes of this machine left in `parent` when they were killed. */
export async function removeLeftovers(parent: string): Promise<void> {
  for (const name of await list(parent)) {
    const [, host, pid] = /^[0-9a-f]{64}-[0-9a-f]{8}\.(.+)\.(\d+)\.tmp$/.exec(name) ?? [];
    if (host === hostname() && !isRunning(Number(pid))) await remove(join(parent, name));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

async function list(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fileError(error, folder, 'Looking for prepared tokens');
  }
}

async function remove(folder: string): Promise<void> {
  try {
    await rm(folder, { recursive: true, force: true });
  } catch (error) {
    throw fileError(error, folder, 'Removing prepared tokens');
  }
}
