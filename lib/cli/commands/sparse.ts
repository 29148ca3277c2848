import type { Command } from 'commander';
import { z } from 'zod';
import { heldOutLosses, meanLoss } from '../../eval/held-out-loss.js';
import { SparseModel } from '../../model/baselines/sparse-model.js';
import { note, print, printJson } from '../../terminal/output.js';
import { renderTable } from '../../terminal/table.js';
import { expectStepRoom } from '../../train/step-memory.js';
import { stitchShares } from '../options/ablations.js';
import { openDomains } from '../options/domains.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, count, readOptions } from '../options/options.js';
import {
  deviceOptions,
  domainOptions,
  readingOptions,
  runOptions,
  trainingOptions,
  weightOptions,
} from '../options/training-options.js';
import { claimOut, isFinished, placesBeside } from '../training/out-folder.js';
import { evaluationOptions, runTraining } from '../training/run.js';

const sparseGroup = {
  pick: count().default(1).meta({ description: 'Experts that run for each sequence' }),
};
const training = {
  ...trainingOptions,
  learningRate: z.number().positive().default(0.02).meta({ description: 'Peak learning rate' }),
};
const textGroup = { ...domainOptions, ...weightOptions };
const runGroup = { ...runOptions, ...deviceOptions, ...readingOptions };
const Schema = z.object({ ...sparseGroup, ...textGroup, ...training, ...runGroup });

const EXAMPLES = `
At the end the loss and the speed are measured for every number of experts that could be picked.

Examples:
  bts sparse generalist --pick 1 --domain code=corpora/code --domain math=corpora/math.jsonl --steps 100 --out sparse`;

export function sparseCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('sparse')
    .description('Sparse BTS: train a router that picks the experts of a stitched model which run for a sequence.')
    .argument('<model>', "The stitched model's folder")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Router:', sparseGroup);
  addOptions(command, 'Text:', textGroup);
  addOptions(command, 'Training:', training);
  addOptions(command, 'Run:', runGroup);
  addConfigOption(command);
  command
    .option('--json', 'Print the result as JSON')
    .action(async (folder: string) =>
      run(folder, await readOptions(command, Schema), command.opts().json === true, signal),
    );
}

async function run(folder: string, values: z.output<typeof Schema>, json: boolean, signal: AbortSignal): Promise<void> {
  if (await isFinished(values, json)) return;
  using device = openDevice(values);
  const checkpoint = await claimOut(values.out, values.resume);
  using model = checkpoint
    ? await SparseModel.load(device, checkpoint, { trainable: true, verify: values.verify, signal })
    : await SparseModel.create(device, folder, values.pick, { verify: values.verify, signal });
  expectStepRoom(model, values);
  await using domains = await openDomains(values, model.tokenizer, signal);
  const shares = stitchShares({ ...values, expert: {} });
  const identity = { ...(await placesBeside(values.out, { model: folder })), pick: values.pick };
  await runTraining(model, domains.all, values, { label: 'sparse', shares, resume: checkpoint, identity, signal });
  note(`The router is in '${values.out}'; '${folder}' is as it was.`);
  const experts = model.expertCount;
  model[Symbol.dispose]();

  const heldOut = domains.all.filter(({ heldOut }) => heldOut.length > 1);
  const rows: { pick: number; loss: number; tokensPerSecond: number }[] = [];
  for (let pick = 1; pick <= experts && heldOut.length > 0; pick++) {
    using picking = await SparseModel.load(device, values.out, { k: pick, signal });
    const began = performance.now();
    const losses = await heldOutLosses(picking, heldOut, { ...evaluationOptions(values, picking), signal });
    const tokens = losses.reduce((sum, each) => sum + each.tokens, 0);
    rows.push({ pick, loss: meanLoss(losses), tokensPerSecond: (1000 * tokens) / (performance.now() - began) });
  }
  if (json) printJson({ model: values.out, pick: values.pick, steps: values.steps, heldOut: rows });
  else if (rows.length > 0) {
    print(
      renderTable(rows, [
        { title: 'experts', value: ({ pick }) => pick },
        { title: 'held-out loss', value: ({ loss }) => loss, digits: 3 },
        { title: 'tokens/s', value: ({ tokensPerSecond }) => tokensPerSecond, digits: 0 },
      ]),
    );
  }
}
