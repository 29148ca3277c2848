import { createHash } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { openCheckpoint } from '../../lib/checkpoint/dense-checkpoint.js';
import { parameterNames } from '../../lib/checkpoint/names.js';
import { readTensor } from '../../lib/checkpoint/safetensors.js';
import { readCheckpoint } from '../../lib/checkpoint/shards.js';
import { type Batch, IGNORED } from '../../lib/data/packing.js';
import { DenseModel, FREEZABLE, type Freezable } from '../../lib/model/dense-model.js';
import { Member } from '../../lib/model/transformer/member.js';
import { Scope } from '../../lib/tensor/scope.js';
import { AdamW } from '../../lib/train/adamw.js';
import { collect, fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { varied } from '../support/flat-config.js';
import {
  CONFIGS,
  close,
  liveBytes,
  randomize,
  randomTokens,
  runOutOfMemory,
  writeModel,
  writeTokenizer,
} from '../support/models.js';

const dense = suite('dense model');
const device = openCpu();
let root: string;

dense.before(async () => {
  root = await mkdtemp(join(tmpdir(), 'bts-dense-'));
});
dense.after(async () => {
  device.dispose();
  await rm(root, { recursive: true, force: true });
});

const families = Object.entries(CONFIGS) as [string, ModelConfig][];
const ids = randomTokens(2 * 9);

/** A folder that does not exist yet, inside the temporary one. */
let folders = 0;
const newFolder = () => join(root, `model-${folders++}`);

async function fileHash(path: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
}

/** The numbers of every tensor of a checkpoint in f32, f16 or bf16, by name. */
async function weights(folder: string): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const entry of (await readCheckpoint(folder)).values()) {
    const bytes = Buffer.from(await readTensor(entry));
    const read = {
      F32: (i: number) => bytes.readFloatLE(4 * i),
      BF16: (i: number) => new Float32Array(Uint32Array.of(bytes.readUInt16LE(2 * i) << 16).buffer)[0]!,
      F16: (i: number) => fromHalf(bytes.readUInt16LE(2 * i)),
    }[entry.dtype as 'F32' | 'BF16' | 'F16'];
    const count = entry.shape.reduce((product, size) => product * size, 1);
    values.set(
      entry.name,
      Float32Array.from({ length: count }, (_, i) => read(i)),
    );
  }
  return values;
}

function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const magnitude = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1 + (bits & 1023) / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -magnitude : magnitude;
}

for (const [family, config] of families) {
  dense(`${family}: what is created, written and loaded gives the same logits, to the bit`, async () => {
    const [tokenizer, folder] = [newFolder(), newFolder()];
    await writeTokenizer(tokenizer);
    using created = await DenseModel.create(device, config, tokenizer, 7);
    randomize(created, 7);
    await mkdir(folder);
    await created.write(folder);
    const logits = await created.logits(ids, 2);
    assert.is(logits.length, ids.length * config.vocabularySize);
    assert.ok(logits.every(Number.isFinite));
    for (const trainable of [false, true]) {
      using loaded = await DenseModel.load(device, folder, { trainable });
      assert.equal(await loaded.logits(ids, 2), logits);
      assert.equal(loaded.config, config);
      assert.is(loaded.tokenizer.hash, created.tokenizer.hash);
    }
  });

  dense(`${family}: the folder written is a checkpoint with the names and shapes of Hugging Face`, async () => {
    const folder = await writeModel(device, newFolder(), { config });
    const { tensors } = await openCheckpoint(folder);
    assert.equal(
      [...tensors.values()].map(({ name, shape }) => ({ name, shape })),
      parameterNames(config).map(({ name, shape }) => ({ name, shape })),
    );
    assert.equal([...(await readCheckpoint(folder)).keys()].sort(), [...tensors.keys()].sort());
    assert.equal((await readdir(folder)).sort(), [
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const json = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    assert.is(json.model_type, family);
    assert.is(json.vocab_size, config.vocabularySize);
    assert.is(tensors.has('lm_head.weight'), !config.embedding.tied);
  });

  for (const [dtype, code, error] of [
    ['bf16', 'BF16', 2 ** -8],
    ['f16', 'F16', 2 ** -11],
  ] as const) {
    dense(`${family}: ${dtype} weights are the f32 weights rounded, and are read back as they are`, async () => {
      const exact = await writeModel(device, newFolder(), { config });
      const narrow = await writeModel(device, newFolder(), { config, dtype });
      const [want, got] = [await weights(exact), await weights(narrow)];
      assert.equal([...got.keys()], [...want.keys()]);
      for (const [name, values] of got) {
        // Half of the last place; numbers near zero have places of a fixed size.
        const places = (value: number) => Math.max(error * Math.abs(value), 2 ** -25);
        const off = values.findIndex((value, i) => !(Math.abs(value - want.get(name)![i]!) <= places(value)));
        assert.is(off, -1, `${name} is further off than rounding`);
      }

      using frozen = await DenseModel.load(device, narrow);
      assert.is(frozen.config.dtype, code);
      using trainable = await DenseModel.load(device, narrow, { trainable: true });
      // Frozen weights are widened where they are used, trained ones when they are loaded.
      close(await frozen.logits(ids, 2), await trainable.logits(ids, 2), 1e-5);
      const again = newFolder();
      await mkdir(again);
      await frozen.write(again);
      assert.is(await fileHash(join(again, 'model.safetensors')), await fileHash(join(narrow, 'model.safetensors')));
      assert.is(await fileHash(join(again, 'config.json')), await fileHash(join(narrow, 'config.json')));
    });
  }
}

dense('a model keeps its tokenizer when the checkpoint that it was loaded from is gone', async () => {
  const [before, after] = [newFolder(), newFolder()];
  await writeModel(device, before);
  using model = await DenseModel.load(device, before, { trainable: true });
  await rm(before, { recursive: true });
  await mkdir(after);
  await model.write(after);
  using loaded = await DenseModel.load(device, after);
  assert.is(loaded.tokenizer.hash, model.tokenizer.hash);
});

dense('the same seed gives the same bytes, another seed others', async () => {
  const tokenizer = newFolder();
  await writeTokenizer(tokenizer);
  const hashes: string[] = [];
  for (const seed of [3, 3, 4]) {
    using model = await DenseModel.create(device, CONFIGS.qwen2, tokenizer, seed);
    const folder = newFolder();
    await mkdir(folder);
    await model.write(folder);
    hashes.push(await fileHash(join(folder, 'model.safetensors')));
  }
  assert.is(hashes[0], hashes[1]);
  assert.is.not(hashes[0], hashes[2]);
});

dense('new weights are normal with deviation 0.02, less where they end in the residual stream', async () => {
  const tokenizer = newFolder();
  await writeTokenizer(tokenizer);
  const shape = { width: 64, feedForwardWidth: 96, layers: 8, heads: 16, keyValueHeads: 16 };
  const config = varied(CONFIGS.qwen2, shape);
  using model = await DenseModel.create(device, config, tokenizer, 1);
  const seen = new Set<string>();
  for (const { name, value } of model.trainable) {
    const values = await value.read();
    seen.add(String(values.slice(0, 8)));
    if (name.includes('norm'))
      assert.ok(
        values.every((v) => v === 1),
        name,
      );
    else if (name.endsWith('bias'))
      assert.ok(
        values.every((v) => v === 0),
        name,
      );
    else {
      const deviation = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
      const want = /(o_proj|down_proj)/.test(name) ? 0.02 / 4 : 0.02;
      assert.ok(Math.abs(deviation / want - 1) < 0.1, `${name}: ${deviation}`);
    }
  }
  const drawn = model.trainable.filter(({ name }) => !/norm|bias/.test(name));
  assert.is(seen.size, drawn.length + 2, 'every weight has numbers of its own');
});

/** Takes one training step and returns the names of the weights that changed. */
async function changedByStep(model: DenseModel, batch: Batch): Promise<string[]> {
  const before = new Map<string, Float32Array>();
  for (const { name, value } of model.trainable) before.set(name, await value.read());
  using optimizer = new AdamW(device, model.trainable, { weightDecay: 0 });
  using scope = Scope.recording(device);
  scope.backward(model.trainingLoss(scope, batch, batch.targets.length, 0));
  using norm = optimizer.gradientNorm();
  optimizer.update(norm, 1e-2);
  const changed: string[] = [];
  for (const { name, value } of model.trainable) {
    const after = await value.read();
    if (after.some((v, i) => v !== before.get(name)![i])) changed.push(name);
  }
  return changed;
}

const batch: Batch = { inputs: ids, targets: randomTokens(ids.length, 2), batch: 2, tokens: 9 };
const isNorm = (name: string) => /norm/.test(name);
const frozenBy: Record<Freezable, (name: string, config: ModelConfig) => boolean> = {
  embeddings: (name) => name === 'model.embed_tokens.weight',
  head: (name, { embedding }) =>
    name === 'model.norm.weight' || name === (embedding.tied ? 'model.embed_tokens.weight' : 'lm_head.weight'),
  norms: isNorm,
};
for (const [family, config] of families) {
  dense(`${family}: training changes every weight but those held fixed`, async () => {
    const folder = await writeModel(device, newFolder(), { config, dtype: 'bf16' });
    for (const freeze of [[], ...FREEZABLE.map((part) => [part]), [...FREEZABLE]] as Freezable[][]) {
      using model = await DenseModel.load(device, folder, { trainable: true, freeze });
      const names = parameterNames(config).map(({ name }) => name);
      const want = names.filter((name) => !freeze.some((part) => frozenBy[part](name, config)));
      assert.equal(
        model.trainable.map(({ name }) => name),
        want,
        `freezing ${freeze}`,
      );
      assert.equal(await changedByStep(model, batch), want, `freezing ${freeze}`);
    }
    using frozen = await DenseModel.load(device, folder);
    assert.equal(frozen.trainable, []);
  });
}

dense('what is held fixed keeps its precision and its bytes when trained weights are written', async () => {
  const folder = await writeModel(device, newFolder(), { dtype: 'bf16' });
  using model = await DenseModel.load(device, folder, { trainable: true, freeze: ['embeddings'] });
  await changedByStep(model, batch);
  for (const [dtype, trained] of [
    [undefined, 'F32'],
    ['f16', 'F16'],
  ] as const) {
    const written = newFolder();
    await mkdir(written);
    await model.write(written, dtype);
    const [was, is] = [await readCheckpoint(folder), await readCheckpoint(written)];
    for (const { name, dtype } of is.values()) assert.is(dtype, name.includes('embed') ? 'BF16' : trained);
    const embedding = 'model.embed_tokens.weight';
    assert.equal(await readTensor(is.get(embedding)!), await readTensor(was.get(embedding)!));
    using again = await DenseModel.load(device, written);
    close(await again.logits(ids), await model.logits(ids), trained === 'F32' ? 1e-6 : 0.01);
  }
});

dense('the loss is the mean of the losses that count, and training minimises the same', async () => {
  using model = await DenseModel.load(device, await writeModel(device, newFolder()));
  const targets = Int32Array.from(batch.targets);
  targets[0] = IGNORED;
  targets[11] = IGNORED;
  const some = { ...batch, targets };
  const [all, losses] = [await model.losses(batch), await model.losses(some)];
  assert.equal([losses[0], losses[11]], [0, 0]);
  const counted = [...all].filter((_, i) => i !== 0 && i !== 11);
  assert.equal(
    [...losses].filter((_, i) => i !== 0 && i !== 11),
    counted,
  );
  const mean = counted.reduce((sum, loss) => sum + loss, 0) / 16;
  close([await model.loss(some)], [mean], 1e-6);
  using scope = Scope.recording(device);
  close([await model.trainingLoss(scope, some, 16, 0).item()], [mean], 1e-6);

  const V = model.config.vocabularySize;
  const logits = await model.logits(batch.inputs, 2);
  const byHand = Array.from(batch.targets, (target, n) => {
    const row = logits.subarray(n * V, (n + 1) * V);
    return Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[target]!;
  });
  close(all, byHand, 1e-6);
});

dense('with a window a token sees no further than the windows of all layers together', async () => {
  const text = randomTokens(40);
  const other = Int32Array.from(text);
  other[0]! ^= 1;
  const V = CONFIGS.mistral.vocabularySize;
  for (const [slidingWindow, reach] of [
    [5, 3 * 4],
    [1, 0],
    [null, 39],
  ] as const) {
    const config = varied(CONFIGS.mistral, { slidingWindow });
    using model = await DenseModel.load(device, await writeModel(device, newFolder(), { config }));
    const [one, two] = [await model.logits(text), await model.logits(other)];
    const changed = Array.from({ length: 40 }, (_, n) => n).filter((n) =>
      one.subarray(n * V, (n + 1) * V).some((logit, i) => logit !== two[n * V + i]),
    );
    assert.equal(
      changed,
      Array.from({ length: reach + 1 }, (_, n) => n),
      `a window of ${slidingWindow}`,
    );
  }
});

dense('losses of more rows than are computed at once are those of the rows alone', async () => {
  using model = await DenseModel.load(device, await writeModel(device, newFolder()));
  const [rows, tokens] = [41, 61];
  const big = { inputs: randomTokens(rows * tokens), targets: randomTokens(rows * tokens, 3), batch: rows, tokens };
  const losses = await model.losses(big);
  for (const row of [0, 16, 17, 33, 34, 40]) {
    const [from, to] = [row * tokens, (row + 1) * tokens];
    const alone = { inputs: big.inputs.slice(from, to), targets: big.targets.slice(from, to), batch: 1, tokens };
    close(losses.subarray(from, to), await model.losses(alone), 1e-6, `row ${row}`);
  }
});

dense('inference takes no more memory for more layers', async () => {
  const peak = async (layers: number) => {
    using model = await DenseModel.load(
      device,
      await writeModel(device, newFolder(), { config: { ...CONFIGS.llama, layers } }),
    );
    await model.logits(ids);
    const live = await liveBytes(device);
    device.memory({ resetPeak: true });
    await model.logits(ids);
    return device.memory().peakBytes - live;
  };
  assert.is(await peak(12), await peak(2));
});

dense('a trained model and its optimizer state leave device memory with it', async () => {
  const live = await liveBytes(device);
  const model = await DenseModel.load(device, await writeModel(device, newFolder()), { trainable: true });
  await changedByStep(model, batch);
  assert.ok((await liveBytes(device)) > live);
  model[Symbol.dispose]();
  assert.is(await liveBytes(device), live);
  model[Symbol.dispose]();
  await fails(() => model.logits(ids), 'DISPOSED', /dispose/);
  await fails(() => model.losses(batch), 'DISPOSED', /dispose/);
  assert.is(await liveBytes(device), live);
});

const batchOf = (inputs: number[], targets = inputs, rows = 1): Batch => ({
  inputs: Int32Array.from(inputs),
  targets: Int32Array.from(targets),
  batch: rows,
  tokens: inputs.length / rows,
});
const long = [...randomTokens(65)];
const badInputs: [name: string, run: (model: DenseModel) => Promise<unknown>, ErrorCode, RegExp][] = [
  ['no tokens', (m) => m.logits([]), 'BAD_OPTION', /0 token ids/],
  ['no sequences', (m) => m.logits([], 0), 'BAD_OPTION', /0 token ids came for 0/],
  ['tokens that do not fill the sequences', (m) => m.logits([1, 2, 3], 2), 'BAD_OPTION', /3 token ids.*2 sequences/],
  ['more tokens than positions', (m) => m.logits(long), 'BAD_OPTION', /65 tokens.*at most 64/],
  ['a token beyond the vocabulary', (m) => m.logits([1, 257]), 'BAD_TOKEN', /257 at place 1.*257/],
  ['a negative token', (m) => m.logits([-1]), 'BAD_TOKEN', /-1 at place 0/],
  ['half a token', (m) => m.logits([1, 2.5]), 'BAD_TOKEN', /2\.5 at place 1/],
  ['a token that is no number', (m) => m.logits([Number.NaN]), 'BAD_TOKEN', /NaN at place 0/],
  ['a token beyond 32 bits', (m) => m.logits([2 ** 32 + 1]), 'BAD_TOKEN', /4294967297 at place 0/],
  ['losses of no tokens', (m) => m.losses(batchOf([])), 'BAD_OPTION', /0 token ids/],
  ['losses of a padded input', (m) => m.losses(batchOf([-1, 1], [1, 1])), 'BAD_TOKEN', /-1 at place 0/],
  ['a target beyond the vocabulary', (m) => m.losses(batchOf([1, 1], [1, 300])), 'BAD_TOKEN', /300 at place 1/],
  ['a target below IGNORED', (m) => m.losses(batchOf([1, 1], [1, -2])), 'BAD_TOKEN', /-2 at place 1/],
  ['too few targets', (m) => m.losses(batchOf([1, 1], [1])), 'BAD_OPTION', /1 token ids/],
  ['losses of too long a batch', (m) => m.losses(batchOf(long)), 'BAD_OPTION', /at most 64/],
];
dense('inputs that do not fit are typed errors, and the model goes on', async () => {
  using model = await DenseModel.load(device, await writeModel(device, newFolder()));
  const logits = await model.logits(ids);
  const live = await liveBytes(device);
  for (const [name, run, code, message] of badInputs) {
    await fails(() => run(model), code, message);
    assert.is(await liveBytes(device), live, name);
  }
  await fails(
    () => {
      using scope = Scope.recording(device);
      model.trainingLoss(scope, batchOf([1, 1], [1, 300]), 2, 0);
    },
    'BAD_TOKEN',
    /300/,
  );
  assert.is(await liveBytes(device), live);
  assert.equal(await model.logits(ids), logits);
});

dense('a tokenizer with more tokens than the vocabulary belongs to another model', async () => {
  const tokenizer = newFolder();
  await writeTokenizer(tokenizer);
  const small = { ...CONFIGS.llama, vocabularySize: 256, eosTokens: [] };
  await fails(() => DenseModel.create(device, small, tokenizer, 1), 'BAD_TOKENIZER', /257 tokens.*vocabulary 256/);
  const bare = newFolder();
  await mkdir(bare);
  await fails(() => DenseModel.create(device, CONFIGS.llama, bare, 1), 'FILE_NOT_FOUND', /tokenizer\.json/);
  assert.is(await liveBytes(device), 0);
});

dense('an added token without a row is warned of once, and refused where it is used', async () => {
  const folder = await writeModel(device, newFolder(), { config: { ...CONFIGS.llama, vocabularySize: 257 } });
  const path = join(folder, 'tokenizer.json');
  const tokenizer = JSON.parse(await readFile(path, 'utf8'));
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 257, content: '<pad>' });
  await writeFile(path, JSON.stringify(tokenizer));
  const warnings: string[] = [];
  const listen = ({ message }: Error) => warnings.push(message);
  process.on('warning', listen);
  try {
    using model = await DenseModel.load(device, folder);
    using again = await DenseModel.load(device, folder);
    await setImmediate();
    assert.is(warnings.length, 1);
    assert.match(warnings[0]!, `added tokens of '${folder}' lie beyond its embedding of 257 rows: "<pad>" (257)`);
    assert.equal(await again.logits(model.tokenizer.encode('ab')), await model.logits(model.tokenizer.encode('ab')));
    await fails(() => model.logits(model.tokenizer.encode('ab<pad>')), 'BAD_TOKEN', /257 \("<pad>"\) at place 2/);
    await fails(() => collect(model.generate('<pad>', { maxTokens: 1 })), 'BAD_TOKEN', /"<pad>"/);
  } finally {
    process.off('warning', listen);
  }
});

type Damage = (folder: string) => Promise<unknown>;
const edit =
  (name: string, change: (text: string) => string): Damage =>
  async (folder) =>
    writeFile(join(folder, name), change(await readFile(join(folder, name), 'utf8')));
const damages: [name: string, damage: Damage, code: ErrorCode, message: RegExp][] = [
  ['the folder', (f) => rm(f, { recursive: true }), 'FILE_NOT_FOUND', /config\.json/],
  ['config.json', (f) => rm(join(f, 'config.json')), 'FILE_NOT_FOUND', /config\.json/],
  ['the weights', (f) => rm(join(f, 'model.safetensors')), 'FILE_NOT_FOUND', /model\.safetensors/],
  ['the end of config.json', edit('config.json', (t) => t.slice(0, 40)), 'BAD_CONFIG', /JSON/],
  [
    'a layer',
    edit('config.json', (t) => t.replace('"num_hidden_layers": 3', '"num_hidden_layers": 4')),
    'BAD_CHECKPOINT',
    /layers\.3/,
  ],
  ['the end of the weights', (f) => truncate(join(f, 'model.safetensors'), 9000), 'BAD_SAFETENSORS', /./],
  ['all of the weights', (f) => truncate(join(f, 'model.safetensors'), 0), 'BAD_SAFETENSORS', /0 bytes/],
  ['the end of the tokenizer', (f) => truncate(join(f, 'tokenizer.json'), 100), 'BAD_TOKENIZER', /JSON/],
  ['everything in the tokenizer', edit('tokenizer.json', () => '{}'), 'BAD_TOKENIZER', /model/],
];
for (const [name, damage, code, message] of damages) {
  dense(`a checkpoint that lacks ${name} is a typed error and leaves no memory behind`, async () => {
    const folder = await writeModel(device, newFolder());
    await damage(folder);
    await fails(() => DenseModel.load(device, folder), code, message);
    assert.is(await liveBytes(device), 0);
  });
}

dense('weights that are cut off while they are loaded are a typed error and leave no memory behind', async () => {
  const folder = await writeModel(device, newFolder());
  const checkpoint = await openCheckpoint(folder);
  await truncate(join(folder, 'model.safetensors'), 9000);
  for (const trainable of [false, true]) {
    await fails(
      () => Member.load(device, checkpoint, { trainable: () => trainable }),
      'BAD_CHECKPOINT',
      /model\.safetensors/,
    );
    assert.is(await liveBytes(device), 0);
  }
  // The device is as good as before.
  using model = await DenseModel.load(device, await writeModel(device, newFolder()));
  assert.ok((await model.logits(ids)).every(Number.isFinite));
});

dense('wherever memory runs out, loading and computing leave none behind', async () => {
  const config = { ...CONFIGS.qwen2, layers: 2 };
  const folder = await writeModel(device, newFolder(), { config, dtype: 'bf16' });
  const tensors = parameterNames(config).length;
  assert.is(await runOutOfMemory(device, () => DenseModel.load(device, folder)), tensors);
  using model = await DenseModel.load(device, folder);
  // Rotary tables are kept for good; here they are made beforehand.
  const logits = await model.logits(ids, 2);
  assert.ok((await runOutOfMemory(device, () => model.logits(ids, 2))) > 20);
  assert.ok((await runOutOfMemory(device, () => model.losses(batch))) > 20);
  const generated = () => collect(model.generate([1, 2, 3], { maxTokens: 2, stopTokens: [] }));
  assert.ok((await runOutOfMemory(device, generated)) > 20);
  assert.equal(await model.logits(ids, 2), logits);
});

dense('wherever memory runs out, training leaves none behind', async () => {
  const config = { ...CONFIGS.qwen2, layers: 2 };
  const folder = await writeModel(device, newFolder(), { config, dtype: 'bf16' });
  await runOutOfMemory(device, () => DenseModel.create(device, config, folder, 1));
  await runOutOfMemory(device, () => DenseModel.load(device, folder, { trainable: true }));
  using model = await DenseModel.load(device, folder, { trainable: true });
  await model.logits(ids);
  assert.ok((await runOutOfMemory(device, () => changedByStep(model, batch))) > 100);
});

dense('a folder that holds a model already is not written over', async () => {
  const folder = await writeModel(device, newFolder());
  const before = await fileHash(join(folder, 'model.safetensors'));
  using model = await DenseModel.load(device, folder);
  await fails(() => model.write(folder), 'FILE_IO', /EEXIST/);
  await fails(() => model.write(newFolder()), 'FILE_NOT_FOUND', /does not exist/);
  assert.is(await fileHash(join(folder, 'model.safetensors')), before);
});

dense('generation_config.json names the tokens that end generation, and is written along', async () => {
  const folder = await writeModel(device, newFolder());
  await writeFile(join(folder, 'generation_config.json'), JSON.stringify({ eos_token_id: [5, 256] }));
  using model = await DenseModel.load(device, folder);
  assert.equal(model.stopTokens, [5, 256]);
  const written = newFolder();
  await mkdir(written);
  await model.write(written);
  assert.is(
    await fileHash(join(written, 'generation_config.json')),
    await fileHash(join(folder, 'generation_config.json')),
  );
  await copyFile(join(folder, 'config.json'), join(written, 'config.json'));
  using again = await DenseModel.load(device, written);
  assert.equal(again.stopTokens, [5, 256]);
});

dense("the tokenizer's end of text ends generation beside those of the configurations", async () => {
  const folder = await writeModel(device, newFolder());
  const stops = async (generation: object | null, config: object = {}) => {
    const path = join(folder, 'config.json');
    await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...config }));
    if (generation) await writeFile(join(folder, 'generation_config.json'), JSON.stringify(generation));
    using model = await DenseModel.load(device, folder);
    return [...model.stopTokens].sort((a, b) => a - b);
  };
  assert.equal(await stops(null, { eos_token_id: 7 }), [7, 256]);
  assert.equal(await stops({ eos_token_id: [5, 6] }), [5, 6, 256]);
  assert.equal(await stops({ eos_token_id: 256 }), [256]);
  assert.equal(await stops({ eos_token_id: null }), [7, 256]);
});

dense('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

dense.run();
