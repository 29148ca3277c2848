import { join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { check } from '../base/check.js';
import { BtsError } from '../base/errors.js';
import { readJson, writeJson } from '../base/file.js';
import { recoverFolder } from '../base/folder.js';
import { type ModelConfig, parseConfig } from './config.js';
import { Hash, Member } from './stitch-manifest.js';

export const BASELINE_FILE = 'baseline.json';
const FORMAT_VERSION = 1;

const common = { formatVersion: z.literal(FORMAT_VERSION) };
/** The hub first. */
const members = z.array(Member).min(2);

const Manifest = z.discriminatedUnion('system', [
  z.strictObject({ ...common, system: z.literal('btm'), members }),
  z.strictObject({ ...common, system: z.literal('routing'), members }),
  // Frozen experts stay where they are; trained ones are in the folder, and need no members any more.
  z.strictObject({ ...common, system: z.literal('bam-adapters'), members }),
  // The stitched model that the router picks experts of, and what its stitches were.
  z.strictObject({
    ...common,
    system: z.literal('sparse'),
    k: z.int().min(1),
    model: z.strictObject({ path: z.string().min(1).max(4096), stitches: Hash }),
  }),
  z.strictObject({
    ...common,
    system: z.enum(['btx-sample', 'btx-soft', 'bam']),
    experts: z.array(z.string()).min(2),
    config: z.record(z.string(), z.unknown()),
  }),
]);

type Written = z.infer<typeof Manifest>;
type Without<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** What `baseline.json` says of a system that was made of a hub and experts; member paths are resolved. */
export type BaselineManifest = Without<Written, 'formatVersion'>;
export type ReferringManifest = Extract<BaselineManifest, { members: unknown }>;

export type SparseManifest = Extract<BaselineManifest, { system: 'sparse' }>;

/** Reads a baseline's manifest. @throws FILE_NOT_FOUND, FILE_IO, BAD_STITCH */
export async function readBaseline(folder: string): Promise<BaselineManifest> {
  await recoverFolder(folder);
  const path = join(folder, BASELINE_FILE);
  const fail = (reason: string) => new BtsError('BAD_STITCH', `'${path}': ${reason}.`);
  const { formatVersion: _, ...manifest } = check(Manifest, await readJson(path, 'BAD_STITCH'), fail);
  if ('model' in manifest)
    return { ...manifest, model: { ...manifest.model, path: resolve(folder, manifest.model.path) } };
  if (!('members' in manifest)) return manifest;
  const located = manifest.members.map((member) => ({ ...member, path: resolve(folder, member.path) }));
  return { ...manifest, members: located };
}

/** Writes `baseline.json` into a folder that lacks one. @throws FILE_IO */
export async function writeBaseline(folder: string, manifest: BaselineManifest): Promise<void> {
  const written: Record<string, unknown> = { formatVersion: FORMAT_VERSION, ...manifest };
  if ('model' in manifest) {
    written.model = { ...manifest.model, path: relative(resolve(folder), manifest.model.path) };
  }
  if ('members' in manifest) {
    written.members = manifest.members.map((member) => ({ ...member, path: relative(resolve(folder), member.path) }));
  }
  await writeJson(join(folder, BASELINE_FILE), written);
}

/** The configuration that a self-contained baseline carries. @throws BAD_CONFIG */
export function baselineConfig(manifest: Extract<BaselineManifest, { config: unknown }>, folder: string): ModelConfig {
  return parseConfig(manifest.config, join(folder, BASELINE_FILE));
}
