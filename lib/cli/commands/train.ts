import type { Command } from 'commander';
import { z } from 'zod';
import { BtsError } from '../../base/errors.js';
import { choice, commaList, folder } from '../../base/schema.js';
import type { ModelConfig } from '../../checkpoint/config.js';
import { openCheckpoint, readConfig } from '../../checkpoint/dense-checkpoint.js';
import { Tokenizer } from '../../data/tokenizer.js';
import { denseCost } from '../../model/cost/cost.js';
import { DenseModel, FREEZABLE, trainableRoles } from '../../model/dense-model.js';
import type { Device } from '../../tensor/device.js';
import { kebab } from '../options/config-file.js';
import { mixtureShares } from '../options/mixture-shares.js';
import { readOptions } from '../options/options.js';
import {
  deviceOptions,
  domainOptions,
  runOptions,
  trainingOptions,
  weightOptions,
} from '../options/training-options.js';
import { domainTable } from '../results.js';
import { addGroups, addJson, DRY_RUN, trainByCommand } from '../training/command.js';
import {
  adapterIdentity,
  adapterToBe,
  checkNewAdapter,
  expectSameKind,
  isAdapted,
  loraOf,
  newAdapterOptions,
} from '../training/new-adapter.js';
import {
  checkNewModel,
  newConfig,
  newModelOptions,
  newTokenizer,
  tokenizerFolder,
  tokenizerToBe,
} from '../training/new-model.js';
import { placesBeside } from '../training/out-folder.js';

const modelOptions = {
  from: folder().optional().meta({ description: 'Model to continue with', argument: 'folder' }),
  freeze: commaList(choice(FREEZABLE))
    .optional()
    .meta({
      description: `What of --from stays as it is: ${FREEZABLE.join(', ')}, several with commas between`,
      argument: 'parts',
    }),
  dtype: choice(['f32', 'bf16', 'f16']).default('f32').meta({ description: 'Precision of the finished model' }),
};

const modelGroup = { ...modelOptions, ...newModelOptions };
const textGroup = { ...domainOptions, ...weightOptions };
const runGroup = { ...runOptions, ...deviceOptions };
const Schema = z.object({ ...modelGroup, ...newAdapterOptions, ...textGroup, ...trainingOptions, ...runGroup });
type Values = z.output<typeof Schema>;

const EXAMPLES = `
Examples:
  A small model from scratch, with a tokenizer of its own:
    bts train --out seed --width 256 --layers 6 --heads 8 --key-value-heads 4 --tied --train-tokenizer 4096 \\
      --domain code=corpora/code --domain prose=corpora/prose.txt --steps 2000 --learning-rate 1e-3
  An expert branched from it, to be stitched later (frozen embeddings and head keep experts close to their hub):
    bts train --out experts/code --from seed --freeze embeddings,head \\
      --domain code=corpora/code --steps 1000 --learning-rate 3e-4
  The same as an adapter of the seed, in a fraction of the memory, which PEFT loads as well:
    bts train --out adapters/code --from seed --lora 16 --domain code=corpora/code --steps 1000 --learning-rate 1e-3
  What would be done, without doing it:
    bts train --config run.yaml --dry-run`;

export function trainCommand(program: Command, signal: AbortSignal): void {
  const command = program
    .command('train')
    .description(
      'Train a dense model: a new one, or an existing one further, such as an expert branched from its seed.',
    )
    .addHelpText('after', EXAMPLES);
  addGroups(command, {
    'Model:': modelGroup,
    'Adapter:': newAdapterOptions,
    'Text:': textGroup,
    'Training:': trainingOptions,
    'Run:': runGroup,
  }).option(...DRY_RUN);
  addJson(command).action(async () => {
    const values = await readOptions(command, Schema);
    checkSource(values);
    const { out, from, tokenizer, trainTokenizer = null } = values;
    await trainByCommand(
      {
        label: 'training',
        values,
        shares: mixtureShares(Object.keys(values.domain), values.weight),
        check: async (checkpoint, dryRun) => {
          if (dryRun && from && !checkpoint) await Tokenizer.load(from);
          const begun = checkpoint && !isAdapted(values);
          const config = begun ? await readConfig(checkpoint) : await plannedConfig(values);
          const size = { batch: values.batchSize, tokens: values.sequenceLength, recompute: values.recompute };
          const trained = trainableRoles(config, loadOptions(values));
          return (await adapterToBe(values, size)) ?? denseCost(config, size, trained);
        },
        prepare: async () => from === undefined && (await newTokenizer(values, signal)),
        create: (device) => createModel(device, values, signal),
        load: (device, checkpoint) => resumeModel(device, values, checkpoint, signal),
        // Where the model came from. Of a resumed run all of it is in the checkpoint, and another source would be ignored.
        identity: async () => {
          const places = await placesBeside(out, { from, tokenizer });
          return { from: null, tokenizer: null, trainTokenizer, ...places, ...(await adapterIdentity(values, signal)) };
        },
        write: (model, folder) => model.write(folder, values.dtype),
        done: `The ${isAdapted(values) ? 'adapter' : 'model'} is in '${out}'.`,
        report: ({ losses }) => ({ heldOut: losses, table: () => domainTable(losses) }),
      },
      command.opts(),
      signal,
    );
  });
}

function checkSource(values: Values): void {
  checkNewAdapter(values);
  if (values.from === undefined) {
    if (values.freeze)
      throw new BtsError('BAD_OPTION', '--freeze holds parts of an existing model fixed: give --from.');
    checkNewModel(values);
    return;
  }
  const stray = Object.keys(newModelOptions).find((name) => values[name as keyof typeof newModelOptions] !== undefined);
  if (stray)
    throw new BtsError('BAD_OPTION', `--from continues a model as it is: --${kebab(stray)} cannot be chosen with it.`);
}

const loadOptions = ({ freeze = [] }: Values) => ({ trainable: true, freeze });

/** The configuration that a run would begin with. */
async function plannedConfig(values: Values): Promise<ModelConfig> {
  const { from } = values;
  const config = from ? (await openCheckpoint(from)).config : await newConfig(values, await tokenizerToBe(values));
  expectRoom(config, values);
  return config;
}

async function createModel(device: Device, values: Values, signal: AbortSignal): Promise<DenseModel> {
  const { from } = values;
  if (from) {
    expectRoom(await readConfig(from), values);
    const adapter = loraOf(values);
    if (adapter) return await DenseModel.adapt(device, from, { ...adapter, seed: values.seed, signal });
    return await DenseModel.load(device, from, { ...loadOptions(values), signal });
  }
  const tokenizer = tokenizerFolder(values);
  const config = await newConfig(values, await Tokenizer.load(tokenizer));
  expectRoom(config, values);
  return await DenseModel.create(device, config, tokenizer, values.seed, { signal });
}

async function resumeModel(
  device: Device,
  values: Values,
  checkpoint: string,
  signal: AbortSignal,
): Promise<DenseModel> {
  const { from } = values;
  const begun = from ? await readConfig(from) : await newConfig(values, await Tokenizer.load(checkpoint));
  expectRoom(begun, values);
  await expectSameKind(checkpoint, values);
  if (isAdapted(values)) {
    const { members } = values;
    return await DenseModel.load(device, checkpoint, { trainable: 'adapter', base: from, members, signal });
  }
  const model = await DenseModel.load(device, checkpoint, { ...loadOptions(values), signal });
  expectSame(model.config, begun, checkpoint);
  return model;
}

function expectRoom({ maxPositions }: ModelConfig, { sequenceLength }: Values): void {
  if (sequenceLength <= maxPositions) return;
  throw new BtsError(
    'BAD_OPTION',
    `--sequence-length ${sequenceLength} is more than the ${maxPositions} positions that the model has.`,
  );
}

/** Whether a checkpoint is one of the run that the options describe. */
function expectSame(checkpoint: ModelConfig, begun: ModelConfig, folder: string): void {
  const keys = (Object.keys(begun) as (keyof ModelConfig)[]).filter((key) => key !== 'dtype');
  const differing = keys.find((key) => JSON.stringify(checkpoint[key]) !== JSON.stringify(begun[key]));
  if (!differing) return;
  const [now, then] = [JSON.stringify(begun[differing]), JSON.stringify(checkpoint[differing])];
  throw new BtsError(
    'BAD_OPTION',
    `cannot resume: ${differing} is ${now}, in '${folder}' it is ${then}. Use the options that the run began with.`,
  );
}
