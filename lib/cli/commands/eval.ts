import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { evaluateOptions } from '../../eval/evaluate.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import { kebab } from '../options/config-file.js';
import { addConfigOption, addOptions, readGivenOptions } from '../options/options.js';
import { deviceOptions, domainOptions } from '../options/training-options.js';
import { compareCommand, expectOneFormat } from './eval-compare.js';
import { listTasks } from './eval-list.js';
import { evaluateLosses, lossOptions } from './eval-losses.js';
import type { OutputOptions } from './eval-tables.js';
import { evaluateTasks, taskOptions } from './eval-tasks.js';

const { domain, ...textOptions } = domainOptions;
const evaluationOptions = {
  batchSize: evaluateOptions.batchSize,
  ...quantizeOptions,
  ...deviceOptions,
  ...hashOptions,
};
const Schema = z.object({
  domain: domain.optional(),
  ...textOptions,
  ...lossOptions,
  ...taskOptions,
  ...evaluationOptions,
});

const EXAMPLES = `
Of text that a model was trained on, only what the run set aside tells something: give --held-out-fraction, --documents
and --text-field as they were then. Text that no model was trained on can be looked at whole: --split all.

Benchmarks are read from local files, as their authors or Hugging Face publish them; what is missing is named with where
to fetch it. With --out, a run that was stopped goes on when it is started again. --gates looks at the tokens that a stitched model
answered with, in a pass of its own after the scores: it takes about as long as scoring one answer to each of these documents.

A benchmark of your own is one file, YAML or JSON, with the fields of lm-eval's tasks, and data for where its rows lie:
  task: capitals
  data: capitals.jsonl                      # or {test: .., train: ..}: .jsonl, .json, .csv, .tsv, .parquet
  output_type: generate_until               # or multiple_choice (with doc_to_choice), loglikelihood, loglikelihood_rolling
  doc_to_text: "Q: What is the capital of {{country}}?\\nA:"
  doc_to_target: "{{capital}}"
  num_fewshot: 3
  generation_kwargs: {until: ["\\n"], max_gen_toks: 16}
  filter_list: [{name: first-word, filter: [{function: regex, regex_pattern: "(\\\\w+)"}]}]
  metric_list: [{metric: exact_match, ignore_case: true}]   # bleu, chrf; of choices acc, acc_norm, acc_bytes

Examples:
  bts eval seed experts/code generalist --domain code=corpora/code --domain math=corpora/math.jsonl
  bts eval seed generalist --domain test=unseen.jsonl --split all --markdown
  bts eval seed generalist --tasks all --data benchmarks --out results
  bts eval generalist --tasks mmlu,gsm8k,capitals.yaml --shots gsm8k=5 --limit 100 --data benchmarks
  bts eval generalist --tasks mmlu,gsm8k --data benchmarks --gates-file gates.svg
  bts eval compare results --task gsm8k`;

export function evalCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('eval')
    .description('Loss and perplexity of models, dense or stitched, on texts, or their scores on benchmarks.')
    .argument('[models...]', "The models' folders")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Text:', domainOptions);
  addOptions(command, 'Loss on text:', lossOptions);
  addOptions(command, 'Benchmarks:', taskOptions);
  addOptions(command, 'Evaluation:', evaluationOptions);
  addConfigOption(command);
  command
    .option('--list', 'List the benchmarks of --tasks (default: all) with version, source and prompt, and do no more')
    .option('--markdown', 'Print a Markdown table')
    .option('--csv', 'Print comma-separated values (benchmarks)')
    .option('--json', 'Print the result as JSON')
    .action(async (folders: string[]) => {
      const output = command.opts<OutputOptions & { list?: boolean }>();
      const { values, given } = await readGivenOptions(command, Schema);
      if (output.list) {
        if (folders.length > 0) throw new BtsError('BAD_OPTION', '--list shows benchmarks: it takes no models.');
        expectFitting('list', given, output);
        return listTasks(values.tasks, output);
      }
      if (folders.length === 0) throw new BtsError('BAD_OPTION', "name a model's folder. See 'bts eval --help'.");
      if (values.tasks) {
        expectFitting('tasks', given, output);
        return evaluateTasks(folders, { ...values, tasks: values.tasks }, output, signal);
      }
      if (values.domain) {
        expectFitting('domain', given, output);
        if (values.split === 'all' && given.includes('heldOutFraction')) {
          throw new BtsError(
            'BAD_OPTION',
            '--held-out-fraction would be ignored: --split all looks at all of the text.',
          );
        }
        return evaluateLosses(folders, { ...values, domain: values.domain }, output, signal);
      }
      const message = "--domain is missing: name texts with it, or benchmarks with --tasks. See 'bts eval --help'.";
      throw new BtsError('BAD_OPTION', message);
    });
  compareCommand(command);
}

/** What `bts eval` does: losses on texts, scores on benchmarks, or a list of these. */
const MODES = {
  domain: { does: 'the loss on texts', options: { ...domainOptions, ...lossOptions, ...evaluationOptions } },
  tasks: { does: 'benchmarks', options: { ...taskOptions, ...evaluationOptions } },
  list: { does: 'the list of benchmarks', options: { tasks: taskOptions.tasks } },
};
const FORMATS = { domain: ['json', 'markdown'], tasks: ['json', 'markdown', 'csv'], list: ['json'] } as const;

/** Throws BAD_OPTION for an option that would be ignored. */
function expectFitting(mode: keyof typeof MODES, given: readonly string[], output: OutputOptions): void {
  const { does, options } = MODES[mode];
  const asked = (['json', 'markdown', 'csv'] as const).filter((format) => output[format]);
  const stray = given.find((name) => !Object.hasOwn(options, name)) ?? asked.find((format) => !fits(mode, format));
  if (stray !== undefined) {
    const advice = mode === 'list' ? 'Leave it out.' : 'Texts (--domain) and benchmarks (--tasks) are two runs.';
    throw new BtsError('BAD_OPTION', `--${kebab(stray)} is not for ${does}, and would be ignored. ${advice}`);
  }
  expectOneFormat(asked);
}

const fits = (mode: keyof typeof FORMATS, format: string) => (FORMATS[mode] as readonly string[]).includes(format);
