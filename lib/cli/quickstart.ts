import { relative } from 'node:path';
import type { Device } from '../tensor/device.js';
import { note, print } from './output.js';
import { compact, duration, Progress } from './progress.js';
import { type QuickstartEvent, type QuickstartOptions, quickstart } from './quickstart/run.js';
import { lossTable, type ModelLosses } from './results.js';

/** What the quickstart found out, for `--json`. */
export interface QuickstartResult {
  folder: string;
  losses: readonly ModelLosses[];
  samples: readonly { prompt: string; text: string }[];
  seconds: number;
}

/** Runs the quickstart and shows it on stderr as it goes. Undefined where it was interrupted, with all work saved. */
export async function showQuickstart(
  device: Device,
  options: QuickstartOptions,
): Promise<QuickstartResult | undefined> {
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
export function printQuickstart({ folder, losses, samples, seconds }: QuickstartResult): void {
  print('\nLoss on held-out text, in nats per token; the best of each column is marked.\n');
  print(lossTable(losses));
  print('\nThe generalist goes on with the beginnings of four texts:\n');
  for (const { prompt, text } of samples) print(`${prompt}▸${text}\n`);
  const place = relative(process.cwd(), folder) || '.';
  print(`Done in ${duration(seconds * 1000)}. The models are in '${place}'; try:`);
  print(`  bts generate ${place}/generalist 'Problem: '`);
}
