/**
 * Codes of matrices that were quantized, kept on the disk: to find the best ones takes far longer than to read them. They lie below the
 * user's cache folder, a file for each matrix, which is written beside its place and renamed. One that is damaged, or of a file of
 * weights that has changed since, is made again. They are read and not mapped, as weights are: a mapped file that shrinks ends the process.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { errorCode, readAt, streamRegion, withFile } from '../../base/file.js';
import { isSettled, stampOf } from '../../base/file-hash.js';
import { removeLeftovers, sibling } from '../../base/siblings.js';
import { cacheHome, makeUserCache } from '../../base/user-cache.js';
import type { TensorEntry } from '../../checkpoint/safetensors.js';
import { bytesOf, type QuantizedType } from '../../tensor/addon.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';

/** Changes whenever the same numbers could get other codes: older ones are then not found. */
const FORMAT = 1;
/** Of fewer numbers codes are made as fast as they are found. */
const LEAST_NUMBERS = 2 ** 18;
const HEADER_BYTES = 512;
const Header = z.strictObject({ of: z.string(), stamp: z.string(), sha256: z.string() });

/** Where the codes of a matrix are kept. */
export interface PlaceOfCodes {
  folder: string;
  path: string;
  /** Of the file of weights that they are made of. */
  stamp: string;
  bytes: number;
}

/** Undefined for what is small, for a file that might be changed again without showing it, and where nothing can be kept. */
export async function placeOfCodes(
  device: Device,
  entry: TensorEntry,
  dtype: QuantizedType,
): Promise<PlaceOfCodes | undefined> {
  const { shape, offset } = entry;
  const home = cacheHome();
  if (!home || shape.reduce((product, length) => product * length, 1) < LEAST_NUMBERS) return undefined;
  try {
    const source = await realpath(entry.path);
    const now = Date.now();
    const stats = await stat(source, { bigint: true });
    // Whoever loads a file that is not the one that was opened tells so.
    if (`${stats.size} ${stats.mtimeNs}` !== entry.stamp || !isSettled(stats, now)) return undefined;
    const folder = join(await makeUserCache(home), 'codes');
    // Sums in another order may round a scale otherwise: what one kind of device makes is not another's.
    const what = JSON.stringify([FORMAT, source, offset, entry.dtype, shape, dtype, device.kind]);
    const path = join(folder, createHash('sha256').update(what).digest('hex'));
    return { folder, path, stamp: stampOf(stats), bytes: bytesOf(dtype, shape) };
  } catch {
    return undefined;
  }
}

/** The codes that are kept there, if they are whole and of what the file has now. */
export async function findCodes({ path, stamp, bytes }: PlaceOfCodes): Promise<Uint8Array | undefined> {
  try {
    return await withFile(path, async (file, size) => {
      if (size !== HEADER_BYTES + bytes) return undefined;
      const header = Header.parse(JSON.parse((await readAt(file, 0, HEADER_BYTES)).toString()));
      if (header.of !== basename(path) || header.stamp !== stamp) return undefined;
      const hash = createHash('sha256');
      const codes = new Uint8Array(bytes);
      let filled = 0;
      await streamRegion(file, { path, offset: HEADER_BYTES, bytes }, (chunk) => {
        hash.update(chunk);
        codes.set(chunk, filled);
        filled += chunk.length;
      });
      return hash.digest('hex') === header.sha256 ? codes : undefined;
    });
  } catch {
    return undefined;
  }
}

let isWarned = false;
/** Folders where nothing lies any more of processes that were killed. */
const tidied = new Set<string>();

/** Keeps codes once they are made. Where that cannot be, the next time makes them again; that a disk is full is told. */
export async function keepCodes({ folder, path, stamp }: PlaceOfCodes, matrix: Tensor): Promise<void> {
  let temporary: string | undefined;
  try {
    const codes = Buffer.from(await matrix.device.bytes(matrix));
    const sha256 = createHash('sha256').update(codes).digest('hex');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (!tidied.has(folder)) await removeLeftovers(folder);
    tidied.add(folder);
    temporary = await sibling(path, 'new');
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify({ of: basename(path), stamp, sha256 }).padEnd(HEADER_BYTES));
      await file.writeFile(codes);
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    if (temporary) await rm(temporary, { force: true }).catch(() => {});
    const code = errorCode(error);
    if (isWarned || (code !== 'ENOSPC' && code !== 'EDQUOT')) return;
    isWarned = true;
    const message = `There is no room to keep quantized weights in '${folder}': they are quantized anew whenever they are loaded.`;
    process.emitWarning(message, { type: 'BtsWarning', code: 'CODES_NOT_KEPT' });
  }
}
