import { relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { folder } from '../../base/schema.js';
import { type QuickstartEvent, type QuickstartOptions, quickstart, quickstartOptions } from '../../quickstart/run.js';
import type { Device } from '../../tensor/device.js';
import { note, print, printJson } from '../../terminal/output.js';
import { compact, duration, Progress } from '../../terminal/progress.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { deviceOptions, domainOptions } from '../options/training-options.js';
import { lossTable, type ModelLosses } from '../results.js';

const options = {
  out: folder().default('quickstart').meta({
    description: 'Where texts, tokenizer and models go; what is finished there is not done again',
    argument: 'folder',
  }),
  domain: domainOptions.domain.default({}).meta({
    description: 'A domain and its text in place of those collected. Two or more are all there is. Repeatable',
    argument: 'name=path,..',
  }),
  ...quickstartOptions,
};
const Schema = z.object({ ...options, ...deviceOptions });

const EXAMPLES = `
Examples:
  bts quickstart
  bts quickstart --out mine --domain prose=books/ --domain code=src/ --domain math=problems.jsonl`;

export function quickstartCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('quickstart')
    .description('The whole method in small: a seed, its experts and the generalist, trained and compared in minutes.')
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Options:', { ...options, ...deviceOptions });
  addConfigOption(command);
  command.option('--json', 'Print the result as JSON').action(async () => {
    const values = await readOptions(command, Schema);
    const { out, domain, seed, effort } = values;
    using device = openDevice(values);
    const result = await showQuickstart(device, { folder: resolve(out), domains: domain, seed, effort, signal });
    if (!result) {
      const message = 'stopped; all work is saved. Run the same command again to go on.';
      throw new BtsError('ABORTED', message, { cause: signal.reason });
    }
    if (command.opts().json === true) printJson(result);
    else printQuickstart(result);
  });
}

/** What the quickstart found out, for `--json`. */
interface QuickstartResult {
  folder: string;
  losses: readonly ModelLosses[];
  samples: readonly { prompt: string; text: string }[];
  seconds: number;
}

/** Runs the quickstart and shows it on stderr as it goes. Undefined where it was interrupted, with all work saved. */
async function showQuickstart(device: Device, options: QuickstartOptions): Promise<QuickstartResult | undefined> {
  const began = performance.now();
  let progress: Progress | undefined;
  let losses: ModelLosses[] = [];
  const samples: { prompt: string; text: string }[] = [];
  try {
    for await (const event of quickstart(device, options)) {
      if (event.type === 'phase') progress = new Progress(event.name, { total: event.steps });
      else if (event.type === 'train') progress = show(event, progress);
      else if (event.type === 'texts') for (const { name, sources } of event.sources) note(`${name}: ${sources}`);
      else if (event.type === 'kept') note(`${event.name}: finished before`);
      else if (event.type === 'result') losses = event.rows;
      else if (event.type === 'sample') samples.push({ prompt: event.prompt, text: event.text });
      else return undefined;
    }
  } finally {
    progress?.done();
  }
  return { folder: options.folder, losses, samples, seconds: Math.round((performance.now() - began) / 1000) };
}

function show({ event }: QuickstartEvent & { type: 'train' }, progress: Progress | undefined): Progress | undefined {
  if (event.type === 'step') {
    progress?.update(event.step, [`loss ${event.loss.toFixed(3)}`, `${compact(event.tokensPerSecond)} tokens/s`]);
    return progress;
  }
  if (event.type === 'finished' || event.type === 'stopped') progress?.done();
  return progress;
}

/** The table and the samples. */
function printQuickstart({ folder, losses, samples, seconds }: QuickstartResult): void {
  print('\nLoss on held-out text, in nats per token; the best of each column is marked.\n');
  print(lossTable(losses));
  print('\nThe generalist goes on with the beginnings of four texts:\n');
  for (const { prompt, text } of samples) print(`${prompt}▸${text}\n`);
  const place = relative(process.cwd(), folder) || '.';
  print(`Done in ${duration(seconds * 1000)}. The models are in '${place}'; try:`);
  print(`  bts generate ${place}/generalist 'Problem: '`);
}
