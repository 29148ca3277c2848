import { readFile } from 'node:fs/promises';
import { basename, extname, resolve } from 'node:path';
import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError, fileError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { count, fraction, integer, text } from '../../base/schema.js';
import { drawTokenGates } from '../../gates/figures.js';
import { gatePage } from '../../gates/gate-page.js';
import {
  type GatedModel,
  type GatedText,
  gatedTextOptions,
  gatedTexts,
  meansOfTexts,
  membersOf,
  type NamedText,
} from '../../gates/gated-text.js';
import { gateOptions, meanGates } from '../../gates/mean-gates.js';
import { tokensCsv } from '../../gates/tables.js';
import { SparseModel } from '../../model/baselines/sparse-model.js';
import type { LanguageModel } from '../../model/language-model.js';
import { loadModel } from '../../model/load-model.js';
import { StitchedModel } from '../../model/stitched-model.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import { print, printJson } from '../../terminal/output.js';
import { renderTable } from '../../terminal/table.js';
import { formOf, type GateForm, type ShownGates, shownMeans, writeGates } from '../gate-output.js';
import { openDomains } from '../options/domains.js';
import { openDevice } from '../options/open-device.js';
import { addConfigOption, addOptions, present, readOptions } from '../options/options.js';
import { deviceOptions, domainOptions } from '../options/training-options.js';

const textGroup = {
  prompt: z.array(text()).optional().meta({
    description: 'A text to look at token by token, and to continue. Repeatable',
    argument: 'text',
  }),
  file: z.array(text('a path')).optional().meta({
    description: 'The same out of a file of text. Repeatable',
    argument: 'path',
  }),
  join: gatedTextOptions.join,
  layer: count().optional().meta({
    description: 'Of prompts the stitch after this layer is drawn (default: the last)',
  }),
  quantiles: z
    .preprocess((value) => (typeof value === 'string' ? value.split(',').map(Number) : value), z.array(fraction()))
    .optional()
    .meta({ description: 'Of prompts, with --csv and --json: also these quantiles over channels', argument: 'q,..' }),
};
const lookGroup = {
  ...gateOptions,
  maxTokens: integer(0).optional().meta({
    description:
      'Tokens to generate for each prompt, the likeliest, at most (default: 64; with --join none); held-out tokens of each domain to look at (default: 4096)',
  }),
  ...quantizeOptions,
  ...deviceOptions,
  ...hashOptions,
};
const drawGroup = {
  svg: text('a file').optional().meta({ description: 'Draw them into this file', argument: 'file' }),
  html: text('a file').optional().meta({
    description: 'The picture in a page of its own; of prompts with each token tinted by the member that leads',
    argument: 'file',
  }),
  csv: text('a file').optional().meta({ description: 'The numbers as a table', argument: 'file' }),
};
const { domain, ...domainRest } = domainOptions;
const readGroup = { domain: domain.optional(), ...domainRest };
const Schema = z.object({ ...textGroup, ...readGroup, ...lookGroup, ...drawGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
A stitch into the hub has a share for every member, 1 in all; a stitch into the experts says for each expert how much of it
the hub replaces. Gates are told as means over channels. Of a prompt, a token's gates are those at the token before it, where it
was expected or chosen; of domains, means over held-out text.

Examples:
  bts gates generalist --prompt "def fib(n):" --prompt "Q: 2 + 2 = ?" --html gates.html
  bts gates generalist --file code.py --file poem.txt --join --svg switching.svg
  bts gates generalist --domain code=corpora/code --domain math=corpora/math.jsonl --svg gates.svg`;

export function gatesCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('gates')
    .description(
      'Which members the stitches of a model listen to: token by token of prompts, or on held-out text of domains.',
    )
    .argument('<model>', "The stitched model's folder")
    .addHelpText('after', EXAMPLES);
  addOptions(command, 'Prompts:', textGroup);
  addOptions(command, 'Held-out text:', readGroup);
  addOptions(command, 'Options:', lookGroup);
  addOptions(command, 'Output:', drawGroup);
  addConfigOption(command);
  command
    .option('--json [file]', 'Print the result as JSON, or write it into a file')
    .action(async (folder: string) => run(folder, await readOptions(command, Schema), command.opts().json, signal));
}

async function run(
  folder: string,
  values: Values,
  json: true | string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const files = filesOf(values, json);
  const texts = await readTexts(values);
  if (texts.length > 0 === (values.domain !== undefined)) {
    throw new BtsError(
      'BAD_OPTION',
      'gates are of prompts (--prompt, --file) or of domains (--domain): give one of the two.',
    );
  }
  using device = openDevice(values);
  using model = await loadModel(device, folder, {
    members: values.members,
    quantize: values.quantize,
    verify: values.verify,
    signal,
  });
  const shown =
    texts.length > 0
      ? await ofTexts(folder, gated(folder, model), texts, values, signal)
      : await ofDomains(folder, model, values, signal);
  for (const [form, file] of files) await writeGates(shown, form, file);
  if (json === true) printJson(shown.json());
  else print(shown.table());
}

/** The files that are asked for. Throws BAD_OPTION for one whose ending says that another form is meant. */
function filesOf({ svg, html, csv }: Values, json: true | string | undefined): [GateForm, string][] {
  const named = { svg, html, csv, json: json === true ? undefined : json };
  return (Object.keys(named) as GateForm[]).flatMap((form) => {
    const file = named[form];
    if (file === undefined) return [];
    const meant = extname(file) === '' ? form : formOf(file);
    if (meant === form) return [[form, file]];
    throw new BtsError('BAD_OPTION', `--${form} '${file}': by its ending it is for --${meant}.`);
  });
}

async function readTexts({ prompt = [], file = [] }: Values): Promise<NamedText[]> {
  const files = await Promise.all(file.map(async (path) => ({ name: basename(path), text: await readText(path) })));
  return [...prompt.map((text) => ({ name: text, text })), ...files];
}

/** Throws FILE_NOT_FOUND, FILE_IO. */
async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw fileError(error, path, 'reading a prompt');
  }
}

/** Throws BAD_OPTION for a model without stitches. */
function gated(folder: string, model: LanguageModel): GatedModel {
  if (model instanceof StitchedModel || model instanceof SparseModel) return model;
  throw new BtsError('BAD_OPTION', `'${folder}' is not a stitched model: it has no gates. See 'bts stitch --help'.`);
}

async function ofTexts(
  folder: string,
  model: GatedModel,
  texts: readonly NamedText[],
  { maxTokens, join, layer, quantiles }: Values,
  signal: AbortSignal,
): Promise<ShownGates> {
  const found = await gatedTexts(model, texts, {
    ...present({ quantiles }),
    maxTokens: maxTokens ?? (join ? 0 : 64),
    join,
    signal,
  });
  const options = { model: basename(resolve(folder)), afterLayer: layer };
  const svg = () => drawTokenGates(found, options);
  return {
    svg,
    html: async () => gatePage(await svg(), found, options),
    csv: () => tokensCsv(found, quantiles),
    json: () => ({ model: folder, texts: found }),
    table: () => textTable(found),
  };
}

async function ofDomains(
  folder: string,
  model: LanguageModel,
  values: Values,
  signal: AbortSignal,
): Promise<ShownGates> {
  if (!(model instanceof StitchedModel)) {
    throw new BtsError('BAD_OPTION', `'${folder}' is not a stitched model: it has no gates. See 'bts stitch --help'.`);
  }
  const { batchSize, maxTokens, sequenceLength } = values;
  if (sequenceLength !== undefined) model.expectPass({ batch: 1, tokens: sequenceLength });
  await using domains = await openDomains({ ...values, domain: values.domain! }, model.tokenizer, signal);
  const look = { batchSize, sequenceLength, signal, ...present({ maxTokens }) };
  const means = await meanGates(model, domains.all, look);
  return shownMeans({ path: folder, name: basename(resolve(folder)) }, model.memberNames, means);
}

/** Means over each text's tokens. */
export function textTable(texts: readonly GatedText[]): string {
  const rows = meansOfTexts(texts);
  const members = membersOf(texts);
  return renderTable(rows, [
    { title: 'text', value: ({ text }) => text },
    { title: 'tokens', value: ({ tokens }) => tokens },
    { title: 'after layer', value: ({ placement }) => placement.afterLayer },
    { title: 'kind', value: ({ placement }) => placement.kind.replaceAll('_', ' ') },
    ...members.map((title, m) => ({ title, value: ({ gates }: (typeof rows)[number]) => gates[m]!, digits: 3 })),
  ]);
}
