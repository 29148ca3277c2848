import type { Command } from 'commander';
import { z } from 'zod';
import { parameterCount } from '../../model/cost/cost.js';
import { PAPER_TABLE_1 } from '../../model/cost/paper.js';
import { systemParameters } from '../../model/cost/system-cost.js';
import { SYSTEM_TITLES } from '../../model/systems.js';
import { print, printJson } from '../../terminal/output.js';
import { type Column, renderTable } from '../../terminal/table.js';
import { whole } from '../../terminal/units.js';
import { addOptions, readOptions } from '../options/options.js';
import { readShape, shapeOptions } from '../options/shape-options.js';

const Schema = z.object(shapeOptions);

const EXAMPLES = `
Examples:
  bts params --config paper
  bts params --config seed --members 4 --json`;

export function paramsCommand(program: Command): void {
  const command = program
    .command('params')
    .description("Trained, total and active parameters of every system, the paper's Table 1, for any configuration.")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Shape:', shapeOptions);
  command
    .option('--markdown', 'Print a Markdown table')
    .option('--json', 'Print the result as JSON')
    .action(async () => run(await readOptions(command, Schema), command.opts()));
}

async function run(
  values: z.output<typeof Schema>,
  { json, markdown = false }: { json?: boolean; markdown?: boolean },
): Promise<void> {
  const { config, stitched } = await readShape(values);
  const isPaper = values.config === 'paper';
  const rows = systemParameters(config, stitched).map((row) => {
    const paper = isPaper ? PAPER_TABLE_1[row.system] : undefined;
    return { ...row, title: SYSTEM_TITLES[row.system], paper };
  });
  if (json) {
    printJson({ config: values.config, members: stitched.members.length, seed: parameterCount(config), systems: rows });
    return;
  }
  type Row = (typeof rows)[number];
  const column = (title: 'trained' | 'total' | 'active'): Column<Row>[] => [
    { title, value: (row) => row[title], format: whole },
    ...(isPaper ? [{ title: 'paper', value: (row: Row) => row.paper?.[title] ?? '', isNumber: true }] : []),
  ];
  const columns: Column<Row>[] = [
    { title: 'system', value: (row) => row.title },
    ...column('trained'),
    ...column('total'),
    ...column('active'),
  ];
  const notes = rows.flatMap(({ title, paper }) => (paper?.note ? [`${title}: ${paper.note}`] : []));
  print([renderTable(rows, columns, { markdown }), ...(notes.length > 0 ? ['', ...notes] : [])].join('\n'));
}
