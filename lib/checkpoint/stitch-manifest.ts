import { join, relative, resolve } from 'node:path';
import { z } from 'zod';
import { check } from '../base/check.js';
import { BtsError } from '../base/errors.js';
import { readJson, writeJson } from '../base/file.js';
import { recoverFolder } from '../base/folder.js';

const FILE = 'bts.json';
const FORMAT_VERSION = 1;
export const Hash = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256 in hexadecimal');
export const MemberName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a name has letters, digits, dot, dash and underscore, 64 at most');

/** How a model of several knows its members. */
export const Member = z.strictObject({
  name: MemberName,
  /** Where the checkpoint lies, relative to the stitched model's folder. */
  path: z.string().min(1).max(4096),
  config: Hash,
  weights: Hash,
  tokenizer: Hash.nullable(),
});

/** The same of a stitched model. */
const StitchedMember = Member.extend({
  /** What its matrices are held in where nothing else is asked for; absent, of a model that remembers nothing: as its files have them. */
  held: z.enum(['int8', 'int4', 'files']).optional(),
});

export const Placement = z.strictObject({
  /** From 1: the stitch stands behind this layer. */
  afterLayer: z.int().min(1),
  kind: z.enum(['hub_into_experts', 'experts_into_hub']),
});

/** One gate for each channel, or one for the whole token. */
export const GATE_NAMES = ['channel', 'scalar'] as const;

const Manifest = z.strictObject({
  formatVersion: z.literal(FORMAT_VERSION),
  /** The hub first. */
  members: z.array(StitchedMember).min(2),
  /** Where stitches stand, from below. */
  plan: z.array(Placement).min(1),
  /** One gate for each channel, or one for the whole token. */
  gate: z.enum(GATE_NAMES),
  /** Whether gates have a bias. */
  gateBias: z.boolean(),
  /** Of projections and gates that are products; absent: full rank. */
  rank: z.int().min(1).optional(),
  /** What experts go on with behind a stitch into the hub: `h_e W_e^T`, or `h_e`. */
  expertsAfterMerge: z.enum(['projected', 'unchanged']),
  /** On the gate logits, in training. */
  dropout: z.number().min(0).lt(1),
});

/** Where a stitch stands and which way it leads. */
export type Placement = z.infer<typeof Placement>;

/** What `bts.json` says of a stitched model; member paths are resolved. */
export type StitchManifest = Omit<z.infer<typeof Manifest>, 'formatVersion'>;

/** Reads a stitched model's `bts.json`. @throws FILE_NOT_FOUND, FILE_IO, BAD_STITCH */
export async function readManifest(folder: string): Promise<StitchManifest> {
  await recoverFolder(folder);
  const path = join(folder, FILE);
  const fail = (reason: string) => new BtsError('BAD_STITCH', `'${path}': ${reason}.`);
  const { formatVersion: _, ...manifest } = check(Manifest, await readJson(path, 'BAD_STITCH'), fail);
  const names = manifest.members.map(({ name }) => name);
  if (new Set(names).size < names.length) throw fail(`two members have one name among ${names.join(', ')}`);
  return {
    ...manifest,
    members: manifest.members.map((member) => ({ ...member, path: resolve(folder, member.path) })),
  };
}

/** Writes `bts.json` into a folder that lacks one. @throws FILE_IO */
export async function writeManifest(folder: string, manifest: StitchManifest): Promise<void> {
  const members = manifest.members.map((member) => ({ ...member, path: relative(resolve(folder), member.path) }));
  await writeJson(join(folder, FILE), { formatVersion: FORMAT_VERSION, ...manifest, members });
}

/** All of a manifest but where files lie, as text: what tells them from others is their hashes. */
export const withoutPaths = (manifest: unknown) =>
  JSON.stringify(manifest, (name, value) => (name === 'path' ? undefined : value));
