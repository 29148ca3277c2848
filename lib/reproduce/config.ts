import { z } from 'zod';
import { choice, commaList, count, integer, text } from '../base/schema.js';
import { MemberName } from '../checkpoint/stitch-manifest.js';
import { trainTokenizerOptions } from '../data/train-tokenizer.js';
import { FREEZABLE } from '../model/dense-model.js';
import { STITCHES } from '../model/stitches/options.js';
import { SYSTEM_TITLES, SYSTEMS, type System } from '../model/systems.js';
import { scheduleOptions } from '../train/schedule.js';

const { steps, learningRate } = scheduleOptions;
const phase = { steps, learningRate };

const Row = z.strictObject({
  system: choice(SYSTEMS),
  /** What the row is called; default the system's name, its ablations and its experts' rank. */
  title: text().optional(),
  /** Names of `bts stitch --ablate`. */
  ablate: commaList(text()).optional(),
  steps: steps.optional(),
  learningRate: learningRate.optional(),
  /** The experts are adapters of this rank, which `bts shrink` makes of them. */
  expertRank: count().optional(),
  /** How often it is trained out of the same hub and experts, each time on other rows of the text. */
  repeats: count().default(1),
  /** Further options of the row's command, such as ['--dropout', '0.1']. */
  options: z.array(text()).default([]),
});

/** The content of the file of `bts reproduce`: one table of systems by domains, and how all of them come to be. */
export const Reproduction = z.strictObject({
  /** The domain that the seed mostly reads; each other domain gets an expert. */
  general: MemberName,
  /** Files or folders by domain; absent: text of the installed packages. */
  domains: z.record(MemberName, commaList(text())).optional(),
  /** Of the text of installed packages, for each domain. */
  bytesPerDomain: count().default(4 << 20),
  model: z.strictObject({
    width: count(),
    layers: count(),
    heads: count(),
    keyValueHeads: count(),
    feedForwardWidth: count(),
    vocabulary: trainTokenizerOptions.vocabularySize,
  }),
  sequenceLength: count(),
  batchSize: count(),
  /** The seed's share of general text; the other domains divide the rest. */
  generalShare: z.number().gt(0).max(1).default(0.7),
  stitches: count().default(STITCHES),
  seed: z.strictObject(phase),
  expert: z.strictObject({ ...phase, freeze: z.array(choice(FREEZABLE)).default(['embeddings', 'head']) }),
  /** Of every system that is trained out of hub and experts, where its row says nothing else. */
  merge: z.strictObject(phase),
  /** The whole table once for each: all random choices. */
  seeds: z.array(integer(0)).min(1).default([1]),
  /** Files of tasks whose accuracy the table shows, as `bts eval --tasks` takes them. */
  tasks: z.array(text()).default([]),
  /** Questions of each task, the first; default all. */
  taskLimit: count().optional(),
  /** Held-out tokens of each domain that the table is about, at most. */
  evaluateTokens: count().default(32_768),
  /** Points of the learning curves, and the held-out tokens of each domain that each looks at. */
  evaluations: count().default(5),
  curveTokens: count().default(8192),
  /** By name: prompts whose gates are drawn token by token, each alone and all behind each other. */
  prompts: z.record(MemberName, text()).optional(),
  rows: z.array(Row).min(1),
});
export type Reproduction = z.output<typeof Reproduction>;
export type Row = z.output<typeof Row>;

/** What a row is called in the table. */
export function titleOf({ title, system, ablate = [], expertRank }: Row): string {
  const experts = expertRank === undefined ? [] : [`experts of rank ${expertRank}`];
  return title ?? [SYSTEM_TITLES[system as System], ...ablate, ...experts].join(', ');
}

/** A file name for a title. */
export const slug = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
