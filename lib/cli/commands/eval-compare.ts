import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { BtsError } from '../../base/errors.js';
import { didYouMean } from '../../base/suggest.js';
import { type Comparison, compareSamples, type Difference } from '../../eval/results/compare.js';
import { type ModelReport, readReport } from '../../eval/results/report.js';
import { readSamples } from '../../eval/results/sample-file.js';
import { print, printJson } from '../../terminal/output.js';
import { renderTable } from '../../terminal/table.js';
import { truncateToWidth } from '../../terminal/text-width.js';
import { kebab } from '../options/config-file.js';

const DEFAULT_SHOWN = 10;
const TEXT_WIDTH = 400;

interface Options {
  model: string[];
  task: string[];
  show: number;
  json?: boolean;
  markdown?: boolean;
}

const EXAMPLES = `
The samples are those that 'bts eval --tasks .. --out FOLDER' kept. The p-value is McNemar's exact test over the documents
that one model answers rightly and the other does not: how often chance alone would part them as much.

Examples:
  bts eval compare results
  bts eval compare results --model seed --model generalist --task gsm8k --show 20
  bts eval compare results-of-seed results-of-generalist --markdown`;

export function compareCommand(program: Command): void {
  const repeat = (text: string, before: string[]) => [...before, text];
  program
    .command('compare')
    .description('Show where two models that were evaluated differ, document by document.')
    .argument('<results...>', 'Folders of results')
    .option('--model <name>', 'One of the two models, if there are more. Repeatable', repeat, [])
    .option('--task <name>', 'Only these benchmarks. Repeatable', repeat, [])
    .option('--show <number>', 'Documents of each benchmark to show', wholeNumber, DEFAULT_SHOWN)
    .option('--markdown', 'Print a Markdown table')
    .option('--json', 'Print all differences as JSON')
    .addHelpText('after', EXAMPLES)
    .action((folders: string[], _, command: Command) => {
      expectOwnOptions(command);
      // Options that `eval` has, too, are taken for its own.
      return compare(folders, command.optsWithGlobals<Options>());
    });
}

/** Throws BAD_OPTION for an option of `eval` that says nothing here, and for several that say how to print. */
function expectOwnOptions(command: Command): void {
  const { parent } = command;
  const own = ['json', 'markdown'];
  const stray = parent!.options
    .map((option) => option.attributeName())
    .find((name) => !own.includes(name) && parent!.getOptionValueSource(name) === 'cli');
  if (stray !== undefined) {
    throw new BtsError('BAD_OPTION', `'compare' has no option --${kebab(stray)}. See 'bts eval compare --help'.`);
  }
  const { json, markdown } = command.optsWithGlobals<Options>();
  expectOneFormat([...(json ? ['json'] : []), ...(markdown ? ['markdown'] : [])]);
  if (json && command.getOptionValueSource('show') === 'cli') {
    throw new BtsError('BAD_OPTION', '--show is for print: --json has all differences. Leave one out.');
  }
}

/** Throws BAD_OPTION where results were asked for in several formats. */
export function expectOneFormat(formats: readonly string[]): void {
  if (formats.length <= 1) return;
  throw new BtsError(
    'BAD_OPTION',
    `results come in one format: choose from ${formats.map((f) => `--${f}`).join(', ')}.`,
  );
}

interface Evaluated {
  report: ModelReport;
  folder: string;
}

async function compare(folders: readonly string[], options: Options): Promise<void> {
  const [a, b] = choose(await readAll(folders), options.model);
  const comparisons: Comparison[] = [];
  const names = a.report.tasks
    .map(({ task }) => task)
    .filter((task) => b.report.tasks.some((other) => other.task === task));
  if (names.length === 0) throw new BtsError('BAD_OPTION', 'these models have no benchmark in common.');
  const missing = options.task.find((name) => !names.includes(name));
  if (missing !== undefined) {
    const message = `these models have no benchmark '${missing}' in common.${didYouMean(missing, names)}`;
    throw new BtsError('BAD_OPTION', `${message} They have ${names.join(', ')}.`);
  }
  const wanted = options.task.length > 0 ? names.filter((name) => options.task.includes(name)) : names;
  for (const task of wanted) {
    const [mine, theirs] = await Promise.all([a, b].map(({ report, folder }) => samplesOf(report, folder, task)));
    const metric = a.report.tasks.find((result) => result.task === task)!.metrics[0]!;
    comparisons.push(compareSamples(task, metric, mine!, theirs!));
  }
  if (options.json) {
    printJson({ models: [a.report.model, b.report.model], tasks: comparisons });
    return;
  }
  print(comparisonTable(comparisons, a.report.model, b.report.model, options.markdown ?? false));
  for (const { task, differences } of comparisons) {
    for (const difference of differences.slice(0, options.show)) {
      print(`\n${differenceText(task, difference, a.report.model, b.report.model)}`);
    }
  }
}

async function readAll(folders: readonly string[]): Promise<Evaluated[]> {
  const all: Evaluated[] = [];
  for (const folder of folders) {
    const { models } = await readReport(folder);
    all.push(...models.map((report) => ({ report, folder })));
  }
  return all;
}

function choose(all: readonly Evaluated[], names: readonly string[]): [Evaluated, Evaluated] {
  const known = all.map(({ report }) => report.model).join(', ');
  const chosen =
    names.length === 0
      ? all
      : names.map((name) => {
          const found = all.find(({ report }) => report.model === name || report.model.endsWith(`/${name}`));
          if (found) return found;
          throw new BtsError('BAD_OPTION', `there are no results of '${name}'. There are those of ${known}.`);
        });
  if (chosen.length === 2) return chosen as [Evaluated, Evaluated];
  throw new BtsError('BAD_OPTION', `two models are compared; choose them with --model from ${known}.`);
}

async function samplesOf({ model, samples, tasks }: ModelReport, folder: string, task: string) {
  if (samples === undefined)
    throw new BtsError('BAD_DATA', `no samples of '${model}' were kept: evaluate it with --out.`);
  const all = await readSamples(join(folder, samples, `${task}.jsonl`));
  const { documents } = tasks.find((result) => result.task === task)!;
  return [...all.values()].filter(({ document }) => document < documents);
}

function comparisonTable(rows: readonly Comparison[], a: string, b: string, markdown: boolean): string {
  return renderTable(
    rows,
    [
      { title: 'benchmark', value: ({ task }) => task },
      { title: 'metric', value: ({ metric }) => metric },
      { title: a, value: ({ means }) => means[0], digits: 1 },
      { title: b, value: ({ means }) => means[1], digits: 1 },
      { title: `only ${a}`, value: ({ onlyFirst }) => onlyFirst },
      { title: `only ${b}`, value: ({ onlySecond }) => onlySecond },
      { title: 'both', value: ({ both }) => both },
      { title: 'neither', value: ({ neither }) => neither },
      { title: 'p', value: ({ pValue }) => pValue, digits: 3 },
    ],
    { markdown },
  );
}

function differenceText(task: string, difference: Difference, a: string, b: string): string {
  const { document, prompt, target, answers, scores } = difference;
  const end = prompt.length > TEXT_WIDTH ? `…${prompt.slice(-TEXT_WIDTH)}` : prompt;
  const shown = (text: string) => truncateToWidth(text, TEXT_WIDTH);
  return [
    `--- ${task}, document ${document}`,
    end,
    `target: ${shown(target)}`,
    `${a} (${scores[0]}): ${shown(answers[0])}`,
    `${b} (${scores[1]}): ${shown(answers[1])}`,
  ].join('\n');
}

function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError(`'${text}' is not a whole number.`);
}
