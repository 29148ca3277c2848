/** What owns memory or files is disposed once, twice is harmless, and what is disposed is of no use; what takes long can be stopped. */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { hashCheckpoint } from '../../lib/checkpoint/hash.js';
import * as bts from '../../lib/index.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, liveBytes, writeModel } from '../support/models.js';

const lifetimes = suite('lifetimes');
const device = openCpu();
const hub = () => join(folder, 'hub');
let folder: string;
let members: { hub: string; experts: Record<string, string> };

lifetimes.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-lifetimes-'));
  const write = (name: string, seed: number) => writeModel(device, join(folder, name), { seed });
  members = { hub: await write('hub', 1), experts: { code: await write('code', 2), math: await write('math', 3) } };
  await writeFile(join(folder, 'text.txt'), 'One line of text.\n\nAnother one.\n'.repeat(400));
  using stitched = await bts.StitchedModel.create(device, { ...members, stitches: 1 });
  await bts.replaceFolder(join(folder, 'stitched'), (temporary) => stitched.write(temporary));
});
lifetimes.after(async () => {
  device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const BATCH = { inputs: new Int32Array([1, 2]), targets: new Int32Array([2, 3]), batch: 1, tokens: 2 };
const prepare = (options: bts.Abortable = {}) =>
  bts.Tokenizer.load(hub()).then((tokenizer) =>
    bts.prepareTokens({
      name: 'text',
      paths: [join(folder, 'text.txt')],
      tokenizer,
      cacheFolder: join(folder, 'cache'),
      ...options,
    }),
  );

const MODELS: [name: string, load: (options: bts.Abortable) => Promise<bts.LanguageModel>][] = [
  ['DenseModel.load', (options) => bts.DenseModel.load(device, members.hub, options)],
  ['DenseModel.create', (options) => bts.DenseModel.create(device, CONFIGS.llama, members.hub, 1, options)],
  ['StitchedModel.create', (options) => bts.StitchedModel.create(device, { ...members, ...options })],
  ['StitchedModel.load', (options) => bts.StitchedModel.load(device, join(folder, 'stitched'), options)],
  [
    'addExperts',
    (options) => bts.addExperts(device, join(folder, 'stitched'), { more: members.experts.math! }, options),
  ],
  ['removeExperts', (options) => bts.removeExperts(device, join(folder, 'stitched'), ['math'], options)],
  ['EnsembleModel.create', (options) => bts.EnsembleModel.create(device, { ...members, ...options })],
  ['RoutedModel.create', (options) => bts.RoutedModel.create(device, { ...members, ...options })],
  ['MixtureModel.create', (options) => bts.MixtureModel.create(device, 'btx-soft', { ...members, ...options })],
  ['SparseModel.create', (options) => bts.SparseModel.create(device, join(folder, 'stitched'), 1, options)],
  ['loadModel', (options) => bts.loadModel(device, join(folder, 'stitched'), options)],
];

for (const [name, load] of MODELS) {
  lifetimes(`${name}: a model is disposed, twice is harmless, and is of no use afterwards`, async () => {
    const before = await liveBytes(device);
    const model = await load({});
    using cache = model.createCache(1, 8);
    await model.extend(cache, [1, 2]);
    assert.is(model.disposed, false);
    model.dispose();
    model.dispose();
    model[Symbol.dispose]();
    assert.is(model.disposed, true);
    const uses: [string, () => unknown][] = [
      ['losses', () => model.losses(BATCH)],
      ['loss', () => model.loss(BATCH)],
      ['logits', () => model.logits([1, 2])],
      ['extend', () => model.extend(cache, [3])],
      ['createCache', () => model.createCache(1, 4)],
      ['generate', () => model.generate([1]).next()],
      ['write', async () => model.write(await mkdtemp(join(folder, 'disposed-')))],
    ];
    for (const [, use] of uses) await fails(use, 'DISPOSED', /a model was used after it was disposed/);
    cache.dispose();
    assert.is(await liveBytes(device), before);
  });

  lifetimes(`${name}: a signal stops it, before it begins and while it works, and nothing is left`, async () => {
    const before = await liveBytes(device);
    await expectAborted((signal) => load({ signal }));
    assert.is(await liveBytes(device), before);
  });
}

/** Passes if `start` ends with ABORTED when the signal has fired already, and when it fires later. */
async function expectAborted(start: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  const reason = new Error('no time');
  for (let look = 0, next = 1; ; [look, next] = [next, look + next]) {
    const { signal, wasSeen } = firesAt(look, reason);
    const error = await start(signal).then(
      (made) => (made as Partial<Disposable> | undefined)?.[Symbol.dispose]?.(),
      (error) => error,
    );
    if (!wasSeen()) {
      assert.ok(look > 0, 'it looks at its signal');
      return;
    }
    assert.instance(error, bts.BtsError, `${error}`);
    assert.equal([error.code, error.name, error.cause], ['ABORTED', 'AbortError', reason]);
  }
}

/** A signal that has fired once somebody looks for the n-th time. */
function firesAt(n: number, reason: unknown): { signal: AbortSignal; wasSeen: () => boolean } {
  const controller = new AbortController();
  let looks = 0;
  const signal = new Proxy(controller.signal, {
    get(target, property) {
      if (property === 'aborted' && looks++ === n) controller.abort(reason);
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { signal, wasSeen: () => looks > n };
}

const SLOW: [name: string, start: (signal: AbortSignal) => Promise<unknown>][] = [
  ['Tokenizer.load', (signal) => bts.Tokenizer.load(hub(), { signal })],
  ['preflight', (signal) => bts.preflight(members.hub, members.experts, { signal })],
  ['hashModel', (signal) => bts.hashModel(hub(), { signal })],
  ['hashCheckpoint', (signal) => hashCheckpoint(hub(), { signal })],
  ['trainTokenizer', (signal) => bts.trainTokenizer(['a text, a text'], { vocabularySize: 270, signal })],
  ['Sandbox.open', (signal) => bts.Sandbox.open({ signal, allowUnsafe: true })],
  [
    'writeSoup',
    async (signal) => bts.writeSoup(device, join(await mkdtemp(join(folder, 'soup-')), 'soup'), { ...members, signal }),
  ],
  [
    'prepareTokens',
    async (signal) => {
      await rm(join(folder, 'cache'), { recursive: true, force: true });
      await using _ = await prepare({ signal });
    },
  ],
  [
    'readDocuments',
    async (signal) => {
      for await (const _ of bts.readDocuments([join(folder, 'text.txt')], { signal })) assert.ok(_.text);
    },
  ],
];
for (const [name, start] of SLOW) {
  lifetimes(`${name}: a signal stops it`, async () => {
    const before = await liveBytes(device);
    await expectAborted(start);
    assert.is(await liveBytes(device), before);
  });
}

for (const [name, evaluated] of [
  ['heldOutLosses', (model, tokens, signal) => bts.heldOutLosses(model, [tokens], { signal })],
  [
    'switchingLoss',
    (model, tokens, signal) =>
      bts.switchingLoss(model, [tokens, { ...tokens, name: 'b' }], { sequenceLength: 16, maxTokens: 64, signal }),
  ],
  ['meanGates', (model, tokens, signal) => bts.meanGates(model, [tokens], { maxTokens: 200, signal })],
] as [string, (model: bts.StitchedModel, tokens: bts.DomainTokens, signal: AbortSignal) => Promise<unknown>][]) {
  lifetimes(`${name}: a signal stops it`, async () => {
    using model = await bts.StitchedModel.load(device, join(folder, 'stitched'));
    await using tokens = await prepare();
    await expectAborted((signal) => evaluated(model, tokens, signal));
  });
}

lifetimes('evaluate: a signal stops it', async () => {
  using model = await bts.DenseModel.load(device, hub());
  const file = join(folder, 'capitals.yaml');
  await writeFile(join(folder, 'capitals.jsonl'), '{"country": "France", "capital": "Paris"}\n'.repeat(3));
  await writeFile(
    file,
    'task: capitals\ndata: capitals.jsonl\noutput_type: generate_until\ndoc_to_text: "{{country}}"\ndoc_to_target: "{{capital}}"\nnum_fewshot: 0\ngeneration_kwargs: {until: ["\\n"], max_gen_toks: 4}\n',
  );
  const columns = bts.resolveTasks(['capitals'], [await bts.readOwnTask(file)]);
  const data = new bts.DataFolder(folder);
  await expectAborted((signal) => bts.evaluate(model, columns, { data, signal }));
  using stitched = await bts.StitchedModel.load(device, join(folder, 'stitched'));
  const { tasks } = await bts.evaluate(stitched, columns, { data });
  await expectAborted((signal) => bts.taskGates(stitched, columns, tasks, { data, signal }));
});

lifetimes('a cache is disposed, twice is harmless, and is of no use afterwards', async () => {
  const models: bts.LanguageModel[] = [
    await bts.DenseModel.load(device, hub()),
    await bts.EnsembleModel.create(device, members),
    await bts.RoutedModel.create(device, members),
  ];
  for (const model of models) {
    for (const used of [true, false]) {
      const cache = model.createCache(1, 8);
      using other = model.createCache(1, 8);
      if (used) await model.extend(cache, [1, 2]);
      cache.dispose();
      cache.dispose();
      for (const ids of [[3], [3, 4]]) await fails(() => model.extend(cache, ids), 'DISPOSED', /a cache/);
      if (used) await fails(() => other.copySequence(cache, 0, 0), 'DISPOSED', /a cache/);
      await fails(() => cache.copySequence(other, 0, 0), 'DISPOSED', /a cache/);
    }
    model.dispose();
  }
});

lifetimes('an expert is switched off anew after the model without it was disposed', async () => {
  using model = await bts.StitchedModel.load(device, join(folder, 'stitched'));
  const first = model.without(['math']);
  const logits = await first.logits([1, 2]);
  first.dispose();
  await fails(() => first.logits([1, 2]), 'DISPOSED', /a model/);
  assert.equal(await model.without(['math']).logits([1, 2]), logits);
  model.dispose();
  await fails(() => model.without(['math']), 'DISPOSED', /a model/);
});

lifetimes('an optimizer and a scope are disposed, and of no use afterwards', async () => {
  const before = await liveBytes(device);
  using model = await bts.DenseModel.load(device, hub(), { trainable: true });
  const optimizer = new bts.AdamW(device, model.trainable);
  const scope = bts.Scope.recording(device);
  optimizer.zeroGradients();
  scope.backward(await model.trainingLoss(scope, BATCH, 2, 0));
  using norm = optimizer.gradientNorm();
  optimizer.update(norm, 1e-3);
  for (const owner of [scope, optimizer]) {
    owner.dispose();
    owner.dispose();
    owner[Symbol.dispose]();
  }
  await fails(() => optimizer.update(norm, 1e-3), 'DISPOSED', /an optimizer was used/);
  await fails(() => optimizer.gradientNorm(), 'DISPOSED', /an optimizer was used/);
  await fails(() => optimizer.zeroGradients(), 'DISPOSED', /an optimizer was used/);
  assert.is(optimizer.steps, 1);
  await fails(() => model.trainingLoss(scope, BATCH, 2, 0), 'DISPOSED', /a scope was used/);
  await fails(() => scope.track(device.empty([1])), 'DISPOSED', /a scope was used/);
  norm.dispose();
  model.dispose();
  assert.is(await liveBytes(device), before);
});

lifetimes('prepared tokens are disposed, twice is harmless, and cannot be read afterwards', async () => {
  const tokens = await prepare();
  assert.is((await tokens.train.read(0, 2)).length, 2);
  await tokens.dispose();
  await tokens.dispose();
  await tokens[Symbol.asyncDispose]();
  for (const side of [tokens.train, tokens.heldOut]) {
    await fails(() => side.read(0, 1), 'DISPOSED', /a token stream was used after it was disposed/);
  }
});

lifetimes('plain JavaScript, which has no `using` on Node 20, disposes by calling', async () => {
  const script = join(folder, 'plain.mjs');
  const entry = pathToFileURL(fileURLToPath(new URL('../../lib/index.ts', import.meta.url))).href;
  await writeFile(
    script,
    `import { Device, DenseModel } from ${JSON.stringify(entry)};
const device = Device.open('cpu', { threads: 1 });
try {
  const model = await DenseModel.load(device, ${JSON.stringify(hub())});
  for await (const { id } of model.generate([1, 2], { maxTokens: 2, stopTokens: [] })) console.log(String(id));
  model.dispose();
  await device.synchronize();
  console.log("left " + device.memory().liveBytes);
} finally {
  device.dispose();
}
`,
  );
  const tsx = pathToFileURL(fileURLToPath(new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url))).href;
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', tsx, script]);
  assert.match(stdout, /^\d+\n\d+\nleft 0\n$/, stdout);
});

lifetimes('nothing was left behind', async () => {
  assert.is(await liveBytes(device), 0);
  const left = (await readdir(folder)).filter((name) => name.startsWith('soup-'));
  for (const name of left) assert.is((await readdir(join(folder, name))).length <= 1, true, 'a soup or nothing');
});

lifetimes.run();
