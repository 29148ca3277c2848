/** Options that nobody knows are refused, wherever options are taken. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { didYouMean, similarNames } from '../../lib/base/suggest.js';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import {
  AdamW,
  addExperts,
  type BtsError,
  DataFolder,
  DenseModel,
  Device,
  EnsembleModel,
  evaluate,
  heldOutLosses,
  loadModel,
  Mixture,
  MixtureModel,
  meanGates,
  prepareTokens,
  RoutedModel,
  removeExperts,
  resolveTasks,
  Sandbox,
  SparseModel,
  StitchedModel,
  switchingLoss,
  Tokenizer,
  taskGates,
  train,
  trainTokenizer,
  writeSoup,
} from '../../lib/index.js';
import { preflight } from '../../lib/model/members/preflight.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder, writeModel } from '../support/models.js';

/** Options as callers without TypeScript write them. */
const wrong = (options: Record<string, unknown>) => options as never;

test('every function that takes options refuses a mistyped one and names the right one', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const [hub, a] = ['hub', 'a'].map((name) => join(folder, name)) as [string, string];
    await writeModel(device, hub, { seed: 1 });
    await writeModel(device, a, { seed: 2 });
    const family = { hub, experts: { a } };
    using model = await DenseModel.load(device, hub);
    using stitched = await StitchedModel.create(device, family);
    const generalist = join(folder, 'none');
    const tokens = new ArrayTokens(Array.from({ length: 100 }, (_, i) => i));
    const domains = [{ name: 'x', heldOut: tokens, tokens, weight: 1 }];
    const shape = { sequenceLength: 4, batchSize: 2 };
    const mixture = new Mixture(domains, { ...shape, seed: 1 });
    const run = { folder: join(folder, 'out'), steps: 1, learningRate: 1 };
    const data = new DataFolder(folder);

    const calls: [string, string, (options: never) => unknown, object?][] = [
      ['stiches', 'stitches', (o) => StitchedModel.create(device, o), family],
      ['gates', 'gate', (o) => StitchedModel.create(device, o), family],
      ['trainible', 'trainable', (o) => StitchedModel.load(device, generalist, o)],
      ['trainble', 'trainable', (o) => DenseModel.load(device, hub, o)],
      ['trianable', 'trainable', (o) => loadModel(device, hub, o)],
      ['thread', 'threads', (o) => Device.open('cpu', o)],
      ['precison', 'precision', (o) => Device.open('auto', o)],
      ['reset_peak', 'resetPeak', (o) => device.memory(o)],
      ['max_tokens', 'maxTokens', (o) => collect(model.generate('x', o))],
      ['temprature', 'temperature', (o) => collect(stitched.generate([1], o))],
      ['weight_decay', 'weightDecay', async (o) => new AdamW(device, model.trainable, o).dispose()],
      ['learning_rate', 'learningRate', (o) => collect(train(model, mixture, o)), run],
      ['checkpointevery', 'checkpointEvery', (o) => collect(train(model, mixture, o)), run],
      ['batch', 'batchSize', (o) => collect(train(model, mixture, { ...run, evaluation: o }))],
      ['batch', 'batchSize', (o) => evaluate(model, [], o), { data }],
      ['limits', 'limit', (o) => evaluate(model, [], o), { data }],
      ['sequenceLen', 'sequenceLength', (o) => heldOutLosses(model, domains, o)],
      ['maxToken', 'maxTokens', (o) => switchingLoss(model, domains, o), { sequenceLength: 4 }],
      ['batchsize', 'batchSize', (o) => meanGates(stitched, domains, o)],
      ['batch', 'batchSize', (o) => taskGates(stitched, [], [], o), { data }],
      ['path', 'paths', (o) => prepareTokens(o), { name: 'x', tokenizer: model.tokenizer, cacheFolder: folder }],
      ['seeds', 'seed', (o) => new Mixture(domains, o), shape],
      ['vocabSize', 'vocabularySize', (o) => trainTokenizer(['text'], o)],
      ['special', 'specials', (o) => model.tokenizer.encode('x', o)],
      ['skipSpecial', 'skipSpecials', (o) => model.tokenizer.decode([1], o)],
      ['allowunsafe', 'allowUnsafe', (o) => Sandbox.open(o)],
      ['miliseconds', 'milliseconds', (limits) => Sandbox.open({ limits })],
      ['expert', 'experts', (o) => EnsembleModel.create(device, o), { hub }],
      ['signals', 'signal', (o) => EnsembleModel.load(device, hub, o)],
      ['sede', 'seed', (o) => MixtureModel.create(device, 'bam', o), family],
      ['trainables', 'trainable', (o) => MixtureModel.load(device, hub, o)],
      ['hubs', 'hub', (o) => RoutedModel.create(device, o), { experts: { a } }],
      ['trainables', 'trainable', (o) => RoutedModel.load(device, hub, o)],
      ['trainables', 'trainable', (o) => SparseModel.load(device, hub, o)],
      ['dtypes', 'dtype', (o) => writeSoup(device, join(folder, 'soup'), o), family],
      ['trains', 'train', (o) => addExperts(device, generalist, { a }, o)],
      ['signl', 'signal', (o) => removeExperts(device, generalist, ['a'], o)],
      ['content', 'contents', (o) => preflight(hub, { a }, o)],
    ];
    for (const [mistyped, right, call, others = {}] of calls) {
      const message = new RegExp(`has no option '${mistyped}'\\. Did you mean .*'${right}'`);
      await fails(() => call(wrong({ ...others, [mistyped]: 3 })), 'BAD_OPTION', message);
    }
    await fails(() => Device.open('cpu', wrong({ colour: 'red' })), 'BAD_OPTION', /There are threads, instructionSet/);
    await fails(
      () => DenseModel.load(device, hub, null as never),
      'BAD_OPTION',
      /expected an object of options, not null/,
    );
    await fails(() => Tokenizer.load(hub).then((t) => t.encode('x', true as never)), 'BAD_OPTION', /not true/);
  });
});

test('numbers of evaluate are checked', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    using model = await DenseModel.load(device, await writeModel(device, join(folder, 'm')));
    const data = new DataFolder(folder);
    for (const batchSize of [0, -1, 1.5, Number.NaN]) {
      await fails(
        () => evaluate(model, [], { data, batchSize }),
        'BAD_OPTION',
        /batchSize must be a whole number from 1 on, not/,
      );
    }
    await fails(() => evaluate(model, [], { data, limit: 0 }), 'BAD_OPTION', /limit must be/);
  });
});

test('options of which one would be ignored beside the other are refused', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const hub = await writeModel(device, join(folder, 'hub'));
    const a = await writeModel(device, join(folder, 'a'), { seed: 2 });
    const plan = [{ afterLayer: 3, kind: 'experts_into_hub' }] as const;
    for (const other of [{ stitches: 1 }, { alternate: false }]) {
      const stitch = () => StitchedModel.create(device, { hub, experts: { a }, plan, ...other });
      await fails(stitch, 'BAD_OPTION', /leave out stitches and alternate/);
    }
    await fails(() => DenseModel.load(device, hub, { freeze: ['head'] }), 'BAD_OPTION', /trainable: true/);
    const heads = () => DenseModel.load(device, hub, { trainable: true, freeze: ['heads' as never] });
    await fails(heads, 'BAD_OPTION', /no part 'heads'\. Did you mean 'head'/);
    for (const milliseconds of [0, -1, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY]) {
      await fails(() => Sandbox.open({ limits: { milliseconds } }), 'BAD_OPTION', /milliseconds must be/);
    }
  });
});

test('a mistyped name brings up those most like it, the likeliest first', () => {
  const names = ['stitches', 'gate', 'init', 'dropout', 'learningRate', 'seed'];
  assert.equal(similarNames('stiches', names), ['stitches']);
  assert.equal(similarNames('learning-rate', names), ['learningRate']);
  assert.equal(similarNames('GATE', names), ['gate']);
  assert.equal(similarNames('ginit', names), ['init']);
  assert.equal(similarNames('inti', names), ['init'], 'a swap is one change');
  assert.equal(similarNames('colour', names), []);
  assert.equal(similarNames('', names), []);
  assert.is(didYouMean('stiches', names), " Did you mean 'stitches'?");
  assert.is(didYouMean('ax', ['ab', 'ac', 'zz']), " Did you mean 'ab' or 'ac'?");
  assert.is(didYouMean('colour', names), '');
});

test('an unknown task brings up the nearest', () => {
  const message = (name: string) => {
    try {
      resolveTasks([name]);
    } catch (error) {
      return (error as BtsError).message;
    }
    return '';
  };
  assert.match(message('gsm9k'), /there is no task 'gsm9k'\. Did you mean 'gsm8k'/);
  assert.match(message('mmlu_anatom'), /'mmlu_anatomy'/);
  assert.match(message('human_eval'), /'humaneval'/);
  assert.match(message('MMLU'), /'mmlu'/);
  assert.match(message('trivia_qa'), /'triviaqa'/);
  assert.match(message('al'), /'all'/);
  assert.match(message('nothing-like-it'), /^there is no task 'nothing-like-it'\. 'bts eval --list' shows all\.$/);
});

test.run();
