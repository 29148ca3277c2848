import type { Command } from 'commander';
import { z } from 'zod';
import { hashOptions } from '../../base/file-hash.js';
import { count } from '../../base/schema.js';
import { heldOutLosses, meanLoss } from '../../eval/held-out-loss.js';
import { SparseModel } from '../../model/baselines/sparse-model.js';
import { renderTable } from '../../terminal/table.js';
import { stitchShares } from '../options/ablations.js';
import { readOptions } from '../options/options.js';
import { deviceOptions, domainOptions, runOptions, trainingWith, weightOptions } from '../options/training-options.js';
import { addGroups, addJson, type Report, type Trained, trainByCommand } from '../training/command.js';
import { placesBeside } from '../training/out-folder.js';
import { evaluationOptions } from '../training/run.js';

const sparseGroup = {
  pick: count().default(1).meta({ description: 'Experts that run for each sequence' }),
};
const training = trainingWith(0.02);
const textGroup = { ...domainOptions, ...weightOptions };
const runGroup = { ...runOptions, ...deviceOptions, ...hashOptions };
const Schema = z.object({ ...sparseGroup, ...textGroup, ...training, ...runGroup });
type Values = z.output<typeof Schema>;

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
  addGroups(command, {
    'Router:': sparseGroup,
    'Text:': textGroup,
    'Training:': training,
    'Run:': runGroup,
  });
  addJson(command).action(async (folder: string) => {
    const values = await readOptions(command, Schema);
    const { out, pick, verify } = values;
    await trainByCommand(
      {
        label: 'sparse',
        values,
        shares: stitchShares({ ...values, expert: {} }),
        create: (device) => SparseModel.create(device, folder, pick, { verify, signal }),
        load: (device, checkpoint) => SparseModel.load(device, checkpoint, { trainable: true, verify, signal }),
        identity: async () => ({ ...(await placesBeside(out, { model: folder })), pick }),
        done: `The router is in '${out}'; '${folder}' is as it was.`,
        report: (trained) => tryAllPicks(trained, values, signal),
      },
      command.opts(),
      signal,
    );
  });
}

/** Loss and speed for every number of experts that could be picked. */
async function tryAllPicks(
  { model, device, domains, communicator }: Trained<SparseModel>,
  values: Values,
  signal: AbortSignal,
): Promise<Report> {
  const experts = model.expertCount;
  model.dispose();
  const heldOut = domains.filter(({ heldOut }) => heldOut.length > 1);
  const rows: { pick: number; loss: number; tokensPerSecond: number }[] = [];
  for (let pick = 1; pick <= experts && heldOut.length > 0; pick++) {
    using picking = await SparseModel.load(device, values.out, { k: pick, signal });
    const began = performance.now();
    const losses = await heldOutLosses(picking, heldOut, {
      ...evaluationOptions(values, picking),
      signal,
      communicator,
    });
    const tokens = losses.reduce((sum, each) => sum + each.tokens, 0);
    rows.push({ pick, loss: meanLoss(losses), tokensPerSecond: (1000 * tokens) / (performance.now() - began) });
  }
  const table = () =>
    renderTable(rows, [
      { title: 'experts', value: ({ pick }) => pick },
      { title: 'held-out loss', value: ({ loss }) => loss, digits: 3 },
      { title: 'tokens/s', value: ({ tokensPerSecond }) => tokensPerSecond, digits: 0 },
    ]);
  return { heldOut: rows, table, more: { pick: values.pick } };
}
