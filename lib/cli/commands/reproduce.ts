import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { z } from 'zod';
import { check } from '../../base/check.js';
import { BtsError } from '../../base/errors.js';
import { exists } from '../../base/file.js';
import { lockFolder } from '../../base/lock.js';
import { overwrite } from '../../base/overwrite.js';
import { commaList, folder, text } from '../../base/schema.js';
import { chanceOf } from '../../eval/chance.js';
import { collectTexts, DOMAINS } from '../../quickstart/texts/texts.js';
import { planReproduction } from '../../reproduce/commands.js';
import { Reproduction } from '../../reproduce/config.js';
import { renderCurves } from '../../reproduce/curves.js';
import { type Chance, type RowResult, reportTable } from '../../reproduce/report.js';
import { drawGates, learningCurves, reproduce, reproduceOptions } from '../../reproduce/run.js';
import { note, print, printJson } from '../../terminal/output.js';
import { readYaml } from '../options/config-file.js';
import { addOptions, present, readOptions } from '../options/options.js';
import { openTaskData, readColumns } from './eval-tasks.js';

const options = {
  out: folder().meta({
    description: 'Where models, results and the table go; what is finished there is not done again',
    argument: 'folder',
  }),
  tasks: commaList(text('a name')).optional().meta({
    description: "Tasks whose accuracy the table shows, as bts eval takes them, in place of the file's",
    argument: 'name,..',
  }),
  ...reproduceOptions,
};
const Schema = z.object(options);

const EXAMPLES = `
The file says which text, which sizes and which rows; smoke.yaml and full.yaml in bench/reproduce come with the package, and
are found there from any folder. In the output folder: table.md, table.json, curves.svg and all models. Ctrl-C saves; the
same command goes on.

Examples:
  bts reproduce bench/reproduce/smoke.yaml --out runs/smoke
  bts reproduce bench/reproduce/smoke.yaml --out runs/smoke --commands    # what would be run`;

export function reproduceCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('reproduce')
    .description(
      'A whole table of the paper from one file: the seed, its experts, and every system and ablation of it.',
    )
    .argument('<file>', 'YAML or JSON file that describes the table')
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Options:', options);
  command
    .option('--commands', 'Print the commands that make the models; run nothing')
    .option('--json', 'Print the result as JSON')
    .action(async (file: string) => run(file, await readOptions(command, Schema), command.opts(), signal));
}

async function run(
  file: string,
  values: z.output<typeof Schema>,
  { commands, json }: { commands?: boolean; json?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const config = { ...(await readReproduction(file)), ...present({ tasks: values.tasks }) };
  const folder = resolve(values.out);
  const domains = await textsOf(config, folder, signal);
  if (commands) {
    const lines = planReproduction(config, domains, folder).flatMap(({ stages }) =>
      stages.flat().map(({ args }) => args.join(' ')),
    );
    print(lines.map((line) => `bts ${line}`).join('\n'));
    return;
  }
  await using _lock = await lockFolder(folder);
  const began = performance.now();
  // A task that is not there is missed before hours are spent.
  const chances = await guessing(config);
  const { jobs, threads } = values;
  const options = { folder, domains, jobs, threads, signal };
  const { rows, plans } = await reproduce(config, options);
  await drawGates(plans, config, options);
  const curves = await learningCurves(plans, config, Object.keys(domains).length);
  const result = { date: new Date().toISOString(), machine: machineName(), file, config, chances, rows };
  await overwrite(join(folder, 'table.json'), `${JSON.stringify(result, null, 2)}\n`);
  await overwrite(join(folder, 'table.md'), markdown(result));
  await overwrite(join(folder, 'curves.svg'), await renderCurves('Mean held-out loss of all domains', curves));
  const minutes = ((performance.now() - began) / 60_000).toFixed(1);
  note(`\nTable, curves and gates are in '${folder}'; this run took ${minutes} minutes.`);
  if (json) printJson(result);
  else print(reportTable(rows, { chances }));
}

const machineName = () => `${cpus().length} x ${cpus()[0]?.model ?? 'unknown processor'}`;

/** What guessing gets in each of the tasks. */
async function guessing({ tasks }: Reproduction): Promise<Chance[]> {
  if (tasks.length === 0) return [];
  const data = openTaskData();
  const columns = await readColumns(tasks);
  return await Promise.all(columns.map(async (column) => ({ task: column.name, value: await chanceOf(column, data) })));
}

interface Result {
  date: string;
  machine: string;
  file: string;
  chances: Chance[];
  rows: RowResult[];
}

function markdown({ date, machine, file, chances, rows }: Result): string {
  const head = `Held-out loss, nats per token. \`bts reproduce ${file}\`, ${date.slice(0, 10)}, ${machine}.`;
  return `${head}\n\n${reportTable(rows, { chances, markdown: true })}\n`;
}

const PACKAGE = fileURLToPath(new URL('../../..', import.meta.url));

/** Throws FILE_NOT_FOUND, FILE_IO; BAD_OPTION naming what in the file is wrong. */
async function readReproduction(path: string): Promise<Reproduction> {
  const fail = (reason: string) => new BtsError('BAD_OPTION', `'${path}': ${reason}.`);
  const published = join(PACKAGE, path);
  const isPublished = !(await exists(path)) && (await exists(published));
  return check(Reproduction, await readYaml(isPublished ? published : path), fail);
}

/** The texts of a table by domain, collected from the installed packages where the file names none. */
async function textsOf(config: Reproduction, folder: string, signal: AbortSignal) {
  const domains =
    config.domains ??
    Object.fromEntries(
      (
        await collectTexts(join(folder, 'texts'), {
          domains: DOMAINS,
          maxBytesPerDomain: config.bytesPerDomain,
          signal,
        })
      ).map(({ name, path }) => [name, [path]]),
    );
  if (Object.hasOwn(domains, config.general) && Object.keys(domains).length > 1) return domains;
  const names = Object.keys(domains).join(', ');
  throw new BtsError('BAD_OPTION', `general: '${config.general}' must be one of several domains; there are ${names}.`);
}
