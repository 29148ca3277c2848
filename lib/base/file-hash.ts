/**
 * SHA-256 of files and of regions of them. A file is read once: its hashes are recorded below the user's cache folder, with
 * the file's size, inode, mtime and ctime, and trusted while it has the same. Models are many gigabytes, and every command
 * wants to know that they are what they were.
 *
 * Hashing the bytes as they are loaded would come too late: tensors that members share are known by their hashes before one of
 * them is loaded, a member that changed is refused before minutes of loading, and of experts not all is loaded.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { type Abortable, BtsError, throwIfAborted } from './errors.js';
import { type Region, readJson, streamRegion, withFile } from './file.js';
import { flag } from './schema.js';
import { CACHE_NAME, cacheHome, makeFolder, makeUserCache } from './user-cache.js';

/** How the files of models are read. */
export const hashOptions = {
  /**
   * Reads all bytes of files whose hashes are asked for. Default: a hash that was recorded is trusted while the file has the
   * size, the inode and the times (mtime and ctime, to the nanosecond) that it had then.
   */
  verify: flag().default(false).meta({
    description: 'Read all weights to see that they are what they were, in place of trusting sizes and times of files',
  }),
};
export interface HashOptions extends z.input<z.ZodObject<typeof hashOptions>>, Abortable {}

/** SHA-256 of a file's bytes, in hexadecimal. @throws FILE_NOT_FOUND, FILE_IO, ABORTED */
export async function hashFile(path: string, options: HashOptions = {}): Promise<string> {
  const [hash] = await hashRegions(path, [{ offset: 0 }], options);
  return hash!;
}

/**
 * SHA-256 of regions of a file, in hexadecimal; one without `bytes` goes to the end.
 *
 * @throws FILE_NOT_FOUND, FILE_IO where the file ends within a region, too; ABORTED
 */
export function hashRegions(
  path: string,
  regions: readonly Omit<Region, 'path'>[],
  { verify = false, signal }: HashOptions = {},
): Promise<string[]> {
  return withFile(path, async (file) => {
    throwIfAborted(signal, `hashing '${path}'`);
    const place = await realpath(path);
    const now = Date.now();
    const stat = await file.stat({ bigint: true });
    const stamp = stampOf(stat);
    const known = verify ? {} : await recall(place, stamp);
    const hashes = { ...known };
    for (const region of regions) hashes[nameOf(region)] ??= await hashRegion(file, { path, ...region }, signal);
    const isNew = Object.keys(hashes).length > Object.keys(known).length;
    if (isNew && isSettled(stat, now) && stampOf(await file.stat({ bigint: true })) === stamp) {
      await remember(place, { format: FORMAT, path: place, stamp, hashes });
    }
    return regions.map((region) => hashes[nameOf(region)]!);
  });
}

async function hashRegion(file: FileHandle, region: Region, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  const count = await streamRegion(file, region, (chunk) => hash.update(chunk), signal);
  const { path, bytes = count } = region;
  if (count === bytes) return hash.digest('hex');
  throw new BtsError(
    'FILE_IO',
    `reading: '${path}' ends ${bytes - count} bytes early: it was changed after it was opened.`,
  );
}

const FORMAT = 1;
const FileRecord = z.strictObject({
  format: z.literal(FORMAT),
  /** Without links. Told for people: it is found by its hash. */
  path: z.string(),
  stamp: z.string(),
  /** By region. */
  hashes: z.record(z.string(), z.string().regex(/^[0-9a-f]{64}$/)),
});
type FileRecord = z.infer<typeof FileRecord>;

const nameOf = ({ offset, bytes }: Omit<Region, 'path'>) => `${offset}+${bytes ?? ''}`;

/** What changes whenever a file's content does; but for writes that come so fast that they bear the same time. */
export const stampOf = ({ size, ino, mtimeNs, ctimeNs }: BigIntStats) =>
  `size ${size}, inode ${ino}, mtime ${mtimeNs}, ctime ${ctimeNs}`;

/** File systems tell time in steps: of some milliseconds usually, of two seconds at most (FAT). */
const TIME_STEP_MS = 2000;

/**
 * Whether a change from now on would give the file another time. A file that was changed within the same step could be changed
 * again and keep its stamp ("racily clean" in git, which distrusts such files, too): it is hashed again the next time.
 */
export function isSettled({ mtimeMs, ctimeMs }: BigIntStats, now: number): boolean {
  return Number(mtimeMs) + TIME_STEP_MS < now && Number(ctimeMs) + TIME_STEP_MS < now;
}

/** Of this process, for where nothing can be written. */
const records = new Map<string, FileRecord>();

const recordName = (place: string) => `${createHash('sha256').update(place).digest('hex')}.json`;

/** The hashes that were recorded of a file with this stamp, by region. */
async function recall(place: string, stamp: string): Promise<Record<string, string>> {
  const own = records.get(place);
  if (own?.stamp === stamp) return own.hashes;
  const record = await readRecord(place);
  return record?.stamp === stamp ? record.hashes : {};
}

/** Undefined where there is none that can be read: then the file is. */
async function readRecord(place: string): Promise<FileRecord | undefined> {
  const home = cacheHome();
  if (!home) return undefined;
  try {
    const json = await readJson(join(home, CACHE_NAME, 'hashes', recordName(place)), 'BAD_DATA');
    return FileRecord.safeParse(json).data;
  } catch {
    return undefined;
  }
}

/** Whoever renames last wins: each record is whole, and what is missing in it is hashed again. */
async function remember(place: string, record: FileRecord): Promise<void> {
  records.set(place, record);
  const home = cacheHome();
  if (!home) return;
  let temporary: string | undefined;
  try {
    const folder = join(await makeUserCache(home), 'hashes');
    await makeFolder(folder);
    temporary = join(folder, `${randomUUID()}.tmp`);
    await writeFile(temporary, JSON.stringify(record), { flag: 'wx', mode: 0o600 });
    await rename(temporary, join(folder, recordName(place)));
  } catch {
    // A place that cannot be written, or a full disk, costs the next start a pass over the file and nothing else.
    if (temporary) await rm(temporary, { force: true }).catch(() => {});
  }
}
