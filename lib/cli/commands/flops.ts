import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { count } from '../../base/schema.js';
import { type FlopsPart, PAPER_SEGMENT, paperFlops } from '../../model/cost/paper.js';
import { segmentFlops, systemFlops } from '../../model/cost/system-cost.js';
import { SYSTEM_TITLES } from '../../model/systems.js';
import { print, printJson } from '../../terminal/output.js';
import { renderTable } from '../../terminal/table.js';
import { whole } from '../../terminal/units.js';
import { addOptions, readOptions } from '../options/options.js';
import { readShape, shapeOptions } from '../options/shape-options.js';

const flopsOptions = {
  sequenceLength: count()
    .optional()
    .meta({
      description: `Tokens in a sequence (default: ${PAPER_SEGMENT.context}, or what the model takes)`,
    }),
  layers: count().default(PAPER_SEGMENT.layers).meta({ description: 'Layers for each stitch' }),
};
const Schema = z.object({ ...shapeOptions, ...flopsOptions });

const EXAMPLES = `
Operations per token, two for each multiply-add of a matrix product. 'As the paper counts' is the accounting of its Tables
11 and 12: full key/value widths, a scalar gate, every token sees the whole context, and a feed-forward layer of three
matrices without the factor 2. 'Executed' is what runs here.

Examples:
  bts flops --config paper
  bts flops --config generalist --sequence-length 1024 --json`;

export function flopsCommand(program: Command): void {
  const command = program
    .command('flops')
    .description("Operations per token of every system, and the paper's Tables 11 and 12, for any configuration.")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Shape:', { ...shapeOptions, ...flopsOptions });
  command
    .option('--json', 'Print the result as JSON')
    .action(async () => run(await readOptions(command, Schema), command.opts().json === true));
}

async function run(values: z.output<typeof Schema>, json: boolean): Promise<void> {
  const { config, stitched } = await readShape(values);
  const tokens = values.sequenceLength ?? Math.min(config.maxPositions, PAPER_SEGMENT.context);
  if (tokens > config.maxPositions) {
    const message = `--sequence-length ${tokens} is more than the ${config.maxPositions} positions of the model.`;
    throw new BtsError('BAD_OPTION', message);
  }
  const { layers } = values;
  const paper = paperFlops({
    width: config.width,
    // Table 6's own number where that is meant; see PAPER_CONFIG.
    feedForwardWidth: values.config === 'paper' ? PAPER_SEGMENT.feedForwardWidth : config.feedForward.width,
    context: tokens,
    members: stitched.members.length,
    layers,
  });
  const executed = segmentFlops(stitched, { layers, tokens });
  const systems = [...systemFlops(config, stitched, tokens)].map(([system, flops]) => ({ system, flops }));
  if (json) {
    printJson({ config: values.config, members: stitched.members.length, layers, tokens, paper, executed, systems });
    return;
  }
  const table = (title: string, name: 'bam' | 'bts') => `${title}\n${sideBySide(paper[name], executed[name])}`;
  print(
    [
      `Operations per token for ${layers} layers, sequences of ${whole(tokens)} tokens`,
      table('BAM (Table 11)', 'bam'),
      table('BTS, with a stitch (Table 12)', 'bts'),
      'Operations per token of whole models, executed',
      renderTable(systems, [
        { title: 'system', value: ({ system }) => SYSTEM_TITLES[system] },
        { title: 'operations', value: ({ flops }) => flops, format: whole },
      ]),
    ].join('\n\n'),
  );
}

interface Counted {
  parts: readonly FlopsPart[];
  total: number;
}

function sideBySide(paper: Counted, executed: Counted): string {
  const rows = executed.parts.map(({ part, flops }) => ({
    part,
    paper: paper.parts.find((other) => other.part === part)!.flops,
    executed: flops,
  }));
  return renderTable(
    [...rows, { part: 'in all', paper: paper.total, executed: executed.total }],
    [
      { title: 'part', value: ({ part }) => part },
      { title: 'as the paper counts', value: ({ paper }) => paper, format: whole },
      { title: 'executed', value: ({ executed }) => executed, format: whole },
    ],
  );
}
