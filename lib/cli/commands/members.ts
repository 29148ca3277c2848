import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { hashOptions } from '../../base/file-hash.js';
import { replaceFolder } from '../../base/folder.js';
import { commaList, integer } from '../../base/schema.js';
import { MemberName, readManifest } from '../../checkpoint/stitch-manifest.js';
import type { DomainTokens } from '../../data/token-shards.js';
import { heldOutLosses } from '../../eval/held-out-loss.js';
import { addExperts, addOptions, removeExperts } from '../../model/change-experts.js';
import type { LanguageModel } from '../../model/language-model.js';
import { StitchedModel } from '../../model/stitched-model.js';
import { quantizeOptions } from '../../model/transformer/quantization.js';
import type { Device } from '../../tensor/device.js';
import { note } from '../../terminal/output.js';
import { expectStepRoom } from '../../train/step-memory.js';
import { stitchShares } from '../options/ablations.js';
import { kebab } from '../options/config-file.js';
import { type OpenDomains, openDomainsTogether } from '../options/domains.js';
import { memberOptions } from '../options/member-options.js';
import { expectOneProcess } from '../options/open-device.js';
import { readGivenOptions } from '../options/options.js';
import { openRanks, type Ranks } from '../options/ranks.js';
import { deviceOptions, domainOptions, runOptions, trainingWith, weightOptions } from '../options/training-options.js';
import { lossTable, type ModelLosses } from '../results.js';
import { addGroups, addJson, printReport, type Report, trainByCommand } from '../training/command.js';
import { claimOut, placesBeside } from '../training/out-folder.js';
import { evaluationOptions } from '../training/run.js';
import { resumed } from '../training/stitched-checkpoint.js';

const training = {
  ...trainingWith(1e-3),
  steps: integer(0).default(0).meta({ description: 'Updates of the weights' }),
};
const textGroup = {
  ...domainOptions,
  domain: domainOptions.domain.optional().meta({
    description:
      'A domain and its text, for --steps and to compare losses: files or folders, commas between. Repeatable',
  }),
  ...weightOptions,
};
const runGroup = { ...runOptions, ...quantizeOptions, ...deviceOptions, ...hashOptions };
const common = { ...textGroup, ...training, ...runGroup };

const addGroup = { expert: memberOptions.expert, ...addOptions };
const AddSchema = z.object({ ...addGroup, ...common });

const removeGroup = {
  expert: commaList(MemberName).meta({
    description: 'Experts to take out, several with commas between',
    argument: 'names',
  }),
};
const RemoveSchema = z.object({ ...removeGroup, ...common });

type Values = z.output<z.ZodObject<typeof common>>;

const ADD_EXAMPLES = `
The new model computes what the old one did, to the bit, until training lets the new experts be heard.

Examples:
  bts add generalist --expert law=experts/law --out larger       # to be trained later, or with --steps
  bts add generalist --expert law=experts/law --domain law=corpora/law --domain code=corpora/code \\
    --out larger --steps 200
  bts add generalist --expert law=experts/law --train new --config texts.yaml --out larger --steps 200`;

const REMOVE_EXAMPLES = `
Examples:
  bts remove generalist --expert math --out smaller
  bts remove generalist --expert math --domain code=corpora/code --domain prose=corpora/prose.txt --out smaller
  bts generate generalist 'def f(' --without math       # for one request, without another model`;

export function addCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('add')
    .description('Stitch more experts into a stitched model, and train it a little: into a new folder.')
    .argument('<model>', "The stitched model's folder")
    .addHelpText('after', ADD_EXAMPLES);
  addAllGroups(command, addGroup).action(async (folder: string) => {
    const { values: all, given } = await readGivenOptions(command, AddSchema);
    expectUsed(all, given);
    const { expert, train, ...values } = all;
    const { members, quantize, verify } = values;
    const loading = { members, quantize, verify, signal };
    const names = Object.keys(expert);
    await change(folder, values, command.opts().json === true, signal, {
      label: 'adding',
      added: expert,
      // Where the members lie. Of a resumed run the checkpoint says so, and others would be ignored.
      identity: () => placesBeside(values.out, { model: folder, ...expert }),
      create: (device) => addExperts(device, folder, expert, { train, ...loading }),
      load: (device, from) => resumed(device, from, { trainable: train === 'new' ? names : true, ...loading }),
      begin: (model) => model.openGates(names),
    });
  });
}

export function removeCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('remove')
    .description('Take experts out of a stitched model, and train the rest a little if wanted: into a new folder.')
    .argument('<model>', "The stitched model's folder")
    .addHelpText('after', REMOVE_EXAMPLES);
  addAllGroups(command, removeGroup).action(async (folder: string) => {
    const { values: all, given } = await readGivenOptions(command, RemoveSchema);
    expectUsed(all, given);
    const { expert, ...values } = all;
    const { members, quantize, verify } = values;
    const loading = { members, quantize, verify, signal };
    await change(folder, values, command.opts().json === true, signal, {
      label: 'removing',
      added: {},
      identity: async () => ({ ...(await placesBeside(values.out, { model: folder })), removed: expert }),
      create: (device) => removeExperts(device, folder, expert, loading),
      load: (device, from) => resumed(device, from, { trainable: true, ...loading }),
      begin: () => {},
    });
  });
}

function addAllGroups(command: Command, models: z.ZodRawShape): Command {
  return addJson(
    addGroups(command, { 'Models:': models, 'Text:': textGroup, 'Training:': training, 'Run:': runGroup }),
  );
}

/** What has a meaning without training; and what has with text, whose loss is compared. */
const USED = {
  always: ['expert', 'out', 'steps', ...Object.keys({ ...quantizeOptions, ...deviceOptions, ...hashOptions })],
  withText: [...Object.keys(domainOptions), 'batchSize', 'sequenceLength', 'evaluateTokens'],
};

/** Throws BAD_OPTION where there is nothing to train on, and for an option that would be ignored. */
function expectUsed({ steps, domain }: Values, given: readonly string[]): void {
  if (steps > 0) {
    if (domain !== undefined) return;
    throw new BtsError('BAD_OPTION', `--domain is missing: --steps ${steps} trains on text.`);
  }
  const used = domain === undefined ? USED.always : [...USED.always, ...USED.withText];
  const stray = given.find((name) => !used.includes(name));
  if (stray === undefined) return;
  const need = USED.withText.includes(stray) ? '--domain' : '--steps';
  throw new BtsError('BAD_OPTION', `--${kebab(stray)} would be ignored without ${need}. Give that, or leave it out.`);
}

interface Change {
  label: string;
  /** The new experts by name: their domains get the share of experts. */
  added: Readonly<Record<string, string>>;
  identity: () => Promise<Readonly<Record<string, unknown>>>;
  create: (device: Device) => Promise<StitchedModel>;
  load: (device: Device, checkpoint: string) => Promise<StitchedModel>;
  /** Before the first step. */
  begin: (model: StitchedModel) => void;
}

/** The change, as many steps as wanted, and where there is text the loss by domain before and after. */
async function change(folder: string, values: Values, json: boolean, signal: AbortSignal, how: Change): Promise<void> {
  const { out, steps, domain } = values;
  const { label, added, identity, create, load, begin } = how;
  const rows: ModelLosses[] = [];
  const evaluate = async (model: LanguageModel, name: string, domains: readonly DomainTokens[], shared?: Ranks) => {
    const heldOut = domains.filter(({ heldOut }) => heldOut.length > 1);
    if (heldOut.length === 0) return;
    const options = { ...evaluationOptions(values, model), signal, communicator: shared?.communicator };
    rows.push({ model: name, losses: await heldOutLosses(model, heldOut, options) });
  };
  /** The texts, and the losses of the old model, which is gone when the new one needs its memory. */
  const before = async (ranks: Ranks): Promise<OpenDomains | undefined> => {
    if (!domain) return undefined;
    const { members, verify } = values;
    const names = (await readManifest(folder)).members.map(({ name }) => name);
    const known = Object.entries(values.quantize ?? {}).filter(([name]) => names.includes(name));
    const quantize = Object.fromEntries(known);
    using old = await StitchedModel.load(ranks.device, folder, { members, quantize, verify, signal });
    if (steps > 0) expectStepRoom(old, values);
    const texts = await openDomainsTogether(ranks, { ...values, domain }, old.tokenizer, signal);
    try {
      await evaluate(old, 'before', texts.all, ranks);
      return texts;
    } catch (error) {
      await texts[Symbol.asyncDispose]();
      throw error;
    }
  };
  const done = `The stitched model is in '${out}'; '${folder}' and all members are as they were.`;
  const report: Report = { heldOut: rows, table: () => `Held-out loss, nats per token\n${lossTable(rows)}` };
  if (steps > 0) {
    const training = { ...values, domain: domain! };
    await trainByCommand(
      {
        ...{ label, values: training, before, create, load, begin, done },
        shares: stitchShares({ ...training, expert: added }),
        identity: async () => ({ made: await identity() }),
        report: ({ losses }) => {
          if (losses.length > 0) rows.push({ model: 'after', losses: [...losses] });
          return report;
        },
      },
      { json },
      signal,
    );
    return;
  }
  expectOneProcess(`${label} experts without --steps`);
  using ranks = await openRanks(label, values);
  const { device } = ranks;
  const checkpoint = await claimOut(out, values.resume);
  await using texts = await before(ranks);
  using model = checkpoint ? await load(device, checkpoint) : await create(device);
  await replaceFolder(out, (temporary) => model.write(temporary));
  if (texts) await evaluate(model, 'after', texts.all);
  note(done);
  printReport(out, steps, report, json);
}
