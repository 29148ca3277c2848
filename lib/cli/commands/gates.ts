import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { overwrite } from '../../base/overwrite.js';
import { text } from '../../base/schema.js';
import { renderGates } from '../../gates/gate-plot.js';
import { gateOptions, type MeanGates, meanGates } from '../../gates/mean-gates.js';
import { loadModel } from '../../model/load-model.js';
import { StitchedModel } from '../../model/stitched-model.js';
import { DIRECTIONS } from '../../model/stitches/directions/index.js';
import { note, print, printJson } from '../../terminal/output.js';
import { type Column, renderTable } from '../../terminal/table.js';
import { openDomains } from '../options/domains.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, readOptions } from '../options/options.js';
import { deviceOptions, domainOptions } from '../options/training-options.js';

const lookGroup = {
  ...gateOptions,
  svg: text('a file').optional().meta({ description: 'Also draw them, into this file', argument: 'file' }),
  ...deviceOptions,
  ...hashOptions,
};
const Schema = z.object({ ...domainOptions, ...lookGroup });

const EXAMPLES = `
A stitch into the hub has a share for every member, 1 in all; a stitch into the experts says for each expert how much of it
the hub replaces. Shown are means over tokens and channels.

Examples:
  bts gates generalist --domain code=corpora/code --domain math=corpora/math.jsonl
  bts gates generalist --domain code=corpora/code --domain math=corpora/math.jsonl --svg gates.svg`;

export function gatesCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('gates')
    .description('Which members the stitches of a model listen to, on the held-out text of each domain.')
    .argument('<model>', "The stitched model's folder")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Text:', domainOptions);
  addOptions(command, 'Options:', lookGroup);
  addConfigOption(command);
  command
    .option('--json', 'Print the result as JSON')
    .action(async (folder: string) =>
      run(folder, await readOptions(command, Schema), command.opts().json === true, signal),
    );
}

async function run(folder: string, values: z.output<typeof Schema>, json: boolean, signal: AbortSignal): Promise<void> {
  using device = openDevice(values);
  using model = await loadModel(device, folder, { verify: values.verify, signal });
  if (!(model instanceof StitchedModel)) {
    throw new BtsError('BAD_OPTION', `'${folder}' is not a stitched model: it has no gates. See 'bts stitch --help'.`);
  }
  if (values.sequenceLength !== undefined) model.expectPass({ batch: 1, tokens: values.sequenceLength });
  await using domains = await openDomains(values, model.tokenizer, signal);
  const { batchSize, maxTokens, sequenceLength, svg } = values;
  const means = await meanGates(model, domains.all, { batchSize, maxTokens, sequenceLength, signal });
  const members = model.memberNames;
  if (svg !== undefined) {
    await overwrite(svg, renderGates('Mean gates on held-out text', members, means));
    note(`The gates are drawn in '${svg}'.`);
  }
  if (json) printJson({ model: folder, members, gates: means });
  else print(gateTable(members, means));
}

function gateTable(members: readonly string[], means: readonly MeanGates[]): string {
  const gate = ({ stitch, gates }: MeanGates, m: number) => (m < DIRECTIONS[stitch.kind].firstGated ? null : gates[m]!);
  const columns: Column<MeanGates>[] = [
    { title: 'after layer', value: ({ stitch }) => stitch.afterLayer },
    { title: 'kind', value: ({ stitch }) => stitch.kind.replaceAll('_', ' ') },
    { title: 'domain', value: ({ domain }) => domain },
    ...members.map((title, m) => ({ title, value: (row: MeanGates) => gate(row, m), digits: 3 })),
  ];
  const order = [...means].sort((a, b) => a.stitch.afterLayer - b.stitch.afterLayer);
  return renderTable(order, columns);
}
