import { basename, extname, resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { replaceFolder } from '../../base/folder.js';
import { overwrite } from '../../base/overwrite.js';
import { choice, count, folder, text } from '../../base/schema.js';
import { readConfig } from '../../checkpoint/dense-checkpoint.js';
import { Tokenizer } from '../../data/tokenizer.js';
import { heldOutOptions, usualLength } from '../../eval/held-out-loss.js';
import { type ShrinkOptions, shrinkExpert, shrinkOptions } from '../../model/adapters/shrink.js';
import type { ShrunkExpert } from '../../model/adapters/shrunk-expert.js';
import type { Device } from '../../tensor/device.js';
import { note, print, printJson } from '../../terminal/output.js';
import { Progress } from '../../terminal/progress.js';
import { renderTable } from '../../terminal/table.js';
import { whole } from '../../terminal/units.js';
import { openDomains } from '../options/domains.js';
import { memberOptions } from '../options/member-options.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, present, readOptions } from '../options/options.js';
import { deviceOptions, domainOptions } from '../options/training-options.js';
import { drawRankLosses, type RankLosses, rankLosses, rankTable } from '../rank-losses.js';
import { claimOut } from '../training/out-folder.js';

const { rank, energy, ...partOptions } = shrinkOptions;
const adapterGroup = {
  hub: memberOptions.hub,
  rank,
  energy,
  ...partOptions,
  dtype: choice(['f32', 'bf16', 'f16']).optional().meta({
    description: "Precision of what is of low rank (default: the hub's)",
  }),
  out: folder().optional().meta({ description: 'New folder for the adapter', argument: 'folder' }),
};
const { domain, ...textOptions } = domainOptions;
const compareGroup = {
  ranks: z
    .preprocess((value) => (typeof value === 'string' ? value.split(',').map(Number) : value), z.array(count()).min(1))
    .optional()
    .meta({
      description: 'Compare adapters of these ranks with the hub and the expert on held-out text (--domain)',
      argument: 'r,..',
    }),
  svg: text('a file').optional().meta({ description: 'Draw the comparison into this file', argument: 'file' }),
  domain: domain.optional(),
  ...textOptions,
  ...heldOutOptions,
};
const { device, threads } = deviceOptions;
const runGroup = { device, threads, ...hashOptions };
const Schema = z.object({ ...adapterGroup, ...compareGroup, ...runGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
The error of a matrix is what is left of its difference to the hub's, by the Frobenius norm, from 0 (the expert's own weights) to
1 (the hub's). Products are computed in f32, also on a GPU.

Examples:
  Which rank is enough, and then the adapter:
    bts shrink experts/code --hub seed --ranks 4,8,16,32 --domain code=corpora/code --domain prose=corpora/prose --svg ranks.svg
    bts shrink experts/code --hub seed --rank 16 --out adapters/code
  As much of each matrix as it takes for nine tenths of the squares, and of the rest the norms alone:
    bts shrink experts/code --hub seed --energy 0.9 --whole norms --out adapters/code`;

export function shrinkCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('shrink')
    .description('Make an adapter of low rank (LoRA) of a full expert, for an expert in a fraction of the memory.')
    .argument('<expert>', "The expert's folder")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Adapter:', adapterGroup);
  addOptions(command, 'Comparison:', compareGroup);
  addOptions(command, 'Run:', runGroup);
  addConfigOption(command);
  command
    .option('--json', 'Print the result as JSON')
    .action(async (expert: string) => run(expert, await readOptions(command, Schema), command.opts().json, signal));
}

async function run(expert: string, values: Values, json: boolean | undefined, signal: AbortSignal): Promise<void> {
  checkWanted(values);
  // What is computed is as exact as can be, whatever will be computed with it.
  using device = openDevice({ ...values, precision: 'f32' });
  const adapter = values.out === undefined ? undefined : await makeAdapter(device, expert, values, signal);
  const losses = values.ranks && (await compare(device, expert, values, values.ranks, signal));
  if (json) {
    printJson({ hub: values.hub, expert, ...(adapter && { adapter }), ...(losses && { losses }) });
    return;
  }
  if (adapter) print(errorTable(adapter.matrices));
  if (adapter && losses) print('');
  if (losses) print(rankTable(losses));
}

/** Throws BAD_OPTION for options that ask for nothing, or for half of something. */
function checkWanted({ out, rank, energy, ranks, domain, svg }: Values): void {
  const fail = (reason: string) => new BtsError('BAD_OPTION', reason);
  const isMade = rank !== undefined || energy !== undefined;
  if (isMade !== (out !== undefined)) throw fail('an adapter takes --out FOLDER, and either --rank or --energy.');
  if ((ranks === undefined) !== (domain === undefined)) {
    throw fail('a comparison takes --ranks, and held-out text to compare on: --domain NAME=PATH.');
  }
  if (svg !== undefined && ranks === undefined) throw fail('--svg draws a comparison: give --ranks and --domain.');
  if (svg !== undefined && !['', '.svg'].includes(extname(svg).toLowerCase())) {
    throw fail(`--svg '${svg}': its ending is that of another kind of file.`);
  }
  if (!isMade && ranks === undefined) {
    throw fail(
      'say what to do: --rank or --energy with --out makes an adapter, --ranks with --domain compares several.',
    );
  }
}

type Size = Pick<ShrinkOptions, 'rank' | 'energy'>;

async function shrink(
  device: Device,
  expert: string,
  { hub, whole, seed, verify }: Values,
  size: Size,
  signal: AbortSignal,
): Promise<ShrunkExpert> {
  const progress = new Progress('shrinking');
  const onProgress = (done: number, matrices: number) => progress.update(done, [`of ${matrices} matrices`]);
  try {
    return await shrinkExpert(device, expert, {
      hub,
      seed,
      verify,
      signal,
      onProgress,
      ...size,
      ...present({ whole }),
    });
  } finally {
    progress.done();
  }
}

async function makeAdapter(device: Device, expert: string, values: Values, signal: AbortSignal) {
  const { out, rank, energy, dtype } = values;
  await claimOut(out!, false);
  using shrunk = await shrink(device, expert, values, present({ rank, energy }), signal);
  await replaceFolder(out!, (temporary) => shrunk.write(temporary, dtype));
  const { matrices, error, parameters, whole: kept, left } = shrunk;
  if (left.length > 0) note(`${left.length} tensors that differ from the hub's are left as they are there.`);
  note(`The adapter is in '${out}': ${whole(parameters)} parameters, error ${error.toFixed(3)}.`);
  return { out, parameters, error, matrices, whole: kept, left };
}

/** The errors of all matrices: a row a layer, a column for each of its matrices, and their ranks where these differ. */
function errorTable(matrices: ShrunkExpert['matrices']): string {
  const places = matrices.map((matrix) => {
    const [, layer, name] = /^model\.layers\.(\d+)\.(?:\w+\.)?(\w+)\.weight$/.exec(matrix.name)!;
    return { ...matrix, layer: Number(layer), module: name! };
  });
  const isOneRank = new Set(places.map(({ rank }) => rank)).size === 1;
  const show = ({ rank, error }: { rank: number; error: number }) =>
    isOneRank ? error.toFixed(3) : `${error.toFixed(3)} (${rank})`;
  const layers = [...new Set(places.map(({ layer }) => layer))].sort((a, b) => a - b);
  const modules = [...new Set(places.map(({ module }) => module))];
  const cell = (layer: number, module: string) => {
    const found = places.find((place) => place.layer === layer && place.module === module);
    return found && show(found);
  };
  return renderTable(layers, [
    { title: 'layer', value: (layer) => layer },
    ...modules.map((title) => ({ title, value: (layer: number) => cell(layer, title), isNumber: true })),
  ]);
}

async function compare(
  device: Device,
  expert: string,
  values: Values,
  given: readonly number[],
  signal: AbortSignal,
): Promise<RankLosses[]> {
  const { hub, svg, batchSize, maxTokens } = values;
  const ranks = [...new Set(given)].sort((a, b) => a - b);
  const sequenceLength = values.sequenceLength ?? usualLength(await readConfig(hub));
  await using domains = await openDomains({ ...values, domain: values.domain! }, await Tokenizer.load(hub), signal);
  using shrunk = await shrink(device, expert, values, { rank: ranks.at(-1)! }, signal);
  const look = { sequenceLength, batchSize, maxTokens, signal };
  const rows = await rankLosses(device, { hub, expert }, shrunk, ranks, domains.all, look);
  if (svg !== undefined) {
    await overwrite(svg, await drawRankLosses(basename(resolve(expert)), rows));
    note(`The comparison is in '${svg}'.`);
  }
  return rows;
}
