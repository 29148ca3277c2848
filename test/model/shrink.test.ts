/** Full experts as adapters: the decomposition against what is known of it, the files, and what they compute. */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Random } from '../../lib/base/random.js';
import type { ModelConfig } from '../../lib/checkpoint/config.js';
import { openCheckpoint } from '../../lib/checkpoint/dense-checkpoint.js';
import { orthonormalized } from '../../lib/model/adapters/rows.js';
import { type ShrinkOptions, shrinkExpert } from '../../lib/model/adapters/shrink.js';
import { symmetricEigen } from '../../lib/model/adapters/symmetric-eigen.js';
import { truncatedSvd } from '../../lib/model/adapters/truncated-svd.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { Device, whyNotBf16 } from '../../lib/tensor/device.js';
import { fails } from '../data/data-fixtures.js';
import { devices, openCpu } from '../support/devices.js';
import {
  CONFIGS,
  close,
  difference,
  inTemporaryFolder,
  liveBytes,
  randomize,
  randomTokens,
  runOutOfMemory,
  writeModel,
} from '../support/models.js';

const shrink = suite('shrink');
const device = openCpu();
shrink.after(() => device.dispose());
const ids = randomTokens(2 * 9);

// Sums of so few numbers of this size in another order.
const ROUNDING = 5e-5;

/** Cosines: n orthonormal rows of n numbers. */
const cosines = (n: number) => (row: number, i: number) =>
  Math.sqrt((row === 0 ? 1 : 2) / n) * Math.cos((Math.PI * row * (2 * i + 1)) / (2 * n));

/** A matrix [O, I] with these singular values, in f64. */
function withValues(values: readonly number[], outputs: number, inputs: number): Float64Array {
  const [u, v] = [cosines(outputs), cosines(inputs)];
  return Float64Array.from({ length: outputs * inputs }, (_, at) => {
    const [o, i] = [Math.floor(at / inputs), at % inputs];
    return values.reduce((sum, value, k) => sum + value * u(k, o) * v(k, i), 0);
  });
}

shrink('eigenvectors of a symmetric matrix are orthonormal, and their values come in order', async () => {
  const n = 23;
  const values = Array.from({ length: n }, (_, i) => 2 ** (-2 * ((i * 7) % n)));
  const matrix = withValues(values, n, n);
  const { values: found, vectors } = await symmetricEigen(matrix, n);
  const sorted = [...values].sort((a, b) => b - a);
  for (let i = 0; i < n; i++) {
    assert.ok(Math.abs(found[i]! - sorted[i]!) < 1e-15 * 10, `${found[i]} for ${sorted[i]}`);
    const row = vectors.subarray(i * n, (i + 1) * n);
    for (let j = 0; j <= i; j++) {
      const dot = row.reduce((sum, x, k) => sum + x * vectors[j * n + k]!, 0);
      assert.ok(Math.abs(dot - (i === j ? 1 : 0)) < 1e-14);
    }
    const image = Array.from(row, (_, k) => row.reduce((sum, x, j) => sum + matrix[k * n + j]! * x, 0));
    assert.ok(image.every((x, k) => Math.abs(x - found[i]! * row[k]!) < 1e-14));
  }
});

shrink('a large matrix leaves the event loop its turns, and stops where it is told to', async () => {
  const n = 220;
  const random = new Random(1, 'large');
  const rows = Float64Array.from({ length: n * n }, () => random.uniform() - 0.5);
  const matrix = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) for (let k = 0; k < n; k++) matrix[i * n + j]! += rows[i * n + k]! * rows[j * n + k]!;
  const controller = new AbortController();
  let turns = 0;
  const timer = setInterval(() => ++turns === 2 && controller.abort(), 1);
  await fails(() => symmetricEigen(matrix, n, { signal: controller.signal }), 'ABORTED', /was stopped/);
  clearInterval(timer);
  assert.is(turns, 2);
});

shrink('rows that are nearly the same become orthonormal, and span what they did', async () => {
  const [count, width] = [6, 40];
  const direction = cosines(width);
  // Each of them is the first direction, and a thousandth, a millionth, .. of others.
  const data = Float32Array.from({ length: count * width }, (_, at) => {
    const [row, i] = [Math.floor(at / width), at % width];
    return Array.from({ length: count }, (_, k) => 10 ** (-1.1 * k) * direction(k, i) * (k <= row ? 1 : -1)).reduce(
      (sum, x) => sum + x,
    );
  });
  using rows = device.tensor(data, [count, width]);
  using found = await orthonormalized(device, rows);
  const values = await found.read();
  const dot = (a: (i: number) => number, b: (i: number) => number) =>
    Array.from({ length: width }, (_, i) => a(i) * b(i)).reduce((sum, x) => sum + x, 0);
  const row = (k: number) => (i: number) => values[k * width + i]!;
  for (let i = 0; i < count; i++) {
    for (let j = 0; j < count; j++) assert.ok(Math.abs(dot(row(i), row(j)) - (i === j ? 1 : 0)) < 3e-5, `${i}, ${j}`);
  }
  for (let k = 0; k < 5; k++) {
    const inside = Array.from({ length: count }, (_, j) => dot(row(j), (i) => direction(k, i)) ** 2);
    const lost = 1 - inside.reduce((sum, x) => sum + x, 0);
    // A direction that a row has 10^-1.1k of is rounded by a part of 2^-24 of the row.
    assert.ok(Math.abs(lost) < 1e-4 + (2 ** -22 * 10 ** (1.1 * k)) ** 2, `direction ${k} is lost by ${lost}`);
  }
});

const VALUES = Array.from({ length: 24 }, (_, i) => 0.6 ** i);

for (const [outputs, inputs] of [
  [24, 60],
  [60, 24],
  [24, 24],
] as const) {
  shrink(`the first singular vectors of a matrix [${outputs}, ${inputs}] are those that it was made of`, async () => {
    const exact = withValues(VALUES, outputs, inputs);
    using matrix = device.tensor(Float32Array.from(exact), [outputs, inputs]);
    for (const rank of [1, 5, 24]) {
      const { left, right, energies } = await truncatedSvd(device, matrix, rank, 3);
      using _left = left;
      using _right = right;
      assert.equal([left.shape, right.shape, energies.length], [[rank, outputs], [rank, inputs], rank]);
      const best = withValues(VALUES.slice(0, rank), outputs, inputs);
      const [l, r] = [await left.read(), await right.read()];
      const product = exact.map((_, at) => {
        const [o, i] = [Math.floor(at / inputs), at % inputs];
        return Array.from({ length: rank }, (_, k) => l[k * outputs + o]! * r[k * inputs + i]!).reduce((a, b) => a + b);
      });
      const size = (values: Float64Array) => Math.hypot(...values);
      // Where values fall this slowly, two sharpenings leave a hundredth of what is beyond, at most.
      const off = size(product.map((x, at) => x - best[at]!));
      const beyond = VALUES[rank] ?? 0;
      assert.ok(off < 0.01 * beyond + 1e-5, `rank ${rank} is off by ${off}, what is beyond begins with ${beyond}`);
      for (const [k, energy] of energies.entries()) {
        assert.ok(Math.abs(energy - VALUES[k]! ** 2) < 1e-3 * VALUES[k]! ** 2 + 1e-6, `value ${k} is ${energy}`);
      }
    }
  });
}

interface Pair {
  hub: string;
  expert: string;
  at: (name: string) => string;
}

/** A hub, and an expert all of whose weights differ, but for embeddings that are the head as well. */
async function withPair(use: (pair: Pair) => Promise<void>, config: ModelConfig = CONFIGS.llama): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    const hub = await writeModel(device, at('hub'), { config });
    using model = await DenseModel.load(device, hub, {
      trainable: true,
      freeze: config.embedding.tied ? ['embeddings'] : [],
    });
    randomize(model, 2);
    await use({ hub, expert: await written(model, at('expert')), at });
  });
}

async function written(
  model: { write(folder: string, dtype?: 'f32' | 'bf16'): Promise<void> },
  folder: string,
  dtype?: 'f32' | 'bf16',
) {
  await mkdir(folder);
  await model.write(folder, dtype);
  return folder;
}

const logitsOf = async (folder: string, base?: string) => {
  using model = await DenseModel.load(device, folder, { base });
  return await model.logits(ids, 2);
};

for (const [family, config] of Object.entries(CONFIGS)) {
  shrink(`${family}: an adapter of full rank is the full expert, within rounding`, async () => {
    await withPair(async ({ hub, expert, at }) => {
      for (const size of [{ rank: 16 }, { energy: 1 }]) {
        using shrunk = await shrinkExpert(device, expert, { hub, ...size });
        const least = (shape: readonly number[]) => Math.min(...shape);
        const { tensors } = await openCheckpoint(expert);
        if ('energy' in size) {
          assert.equal(
            shrunk.matrices.map(({ rank }) => rank),
            shrunk.matrices.map(({ name }) => least(tensors.get(name)!.shape)),
          );
        }
        assert.ok(shrunk.error < 1e-5, `${shrunk.error}`);
        assert.equal(shrunk.left, []);
        const full = await logitsOf(expert);
        using model = await shrunk.load();
        close(await model.logits(ids, 2), full, ROUNDING);
        assert.ok(difference(await logitsOf(hub), full) > 0.1);
        const folder = await written(shrunk, at(`adapter-${Object.keys(size)}`));
        assert.equal(await logitsOf(folder, hub), await model.logits(ids, 2));
        const again = await written(model, at(`again-${Object.keys(size)}`));
        for (const file of ['adapter_config.json', 'adapter_model.safetensors'])
          assert.equal(await readFile(join(again, file)), await readFile(join(folder, file)));
        using stitched = await StitchedModel.create(device, { hub, experts: { code: folder } });
        assert.is(stitched.memberNames.length, 2);
      }
    }, config);
  });
}

shrink('every device finds the same, as far as it rounds', async () => {
  await withPair(async ({ hub, expert }) => {
    using here = await shrinkExpert(device, expert, { hub, rank: 3 });
    for (const other of devices()) {
      using _ = other;
      if (other.precision !== 'f32') continue;
      using there = await shrinkExpert(other, expert, { hub, rank: 3 });
      for (const [i, { name, rank, error }] of there.matrices.entries()) {
        assert.equal([name, rank], [here.matrices[i]!.name, here.matrices[i]!.rank]);
        assert.ok(Math.abs(error - here.matrices[i]!.error) < 1e-4, `${other.label}: ${name}`);
      }
    }
  });
});

shrink('an adapter that became part of the weights is found again', async () => {
  await withPair(async ({ hub, at }) => {
    const targets = ['q_proj', 'down_proj'];
    using model = await DenseModel.adapt(device, hub, { rank: 3, targets });
    randomize(model, 4);
    const adapter = await written(model, at('adapter'));
    const merged = await written(await DenseModel.load(device, adapter, { trainable: true, base: hub }), at('merged'));
    for (const [expert, size] of [
      [merged, { rank: 3 }],
      [merged, { energy: 0.999999 }],
      [adapter, { rank: 3 }],
    ] as const) {
      using shrunk = await shrinkExpert(device, expert, { hub, ...size });
      assert.equal([...new Set(shrunk.matrices.map(({ name }) => name.split('.').at(-2)))], targets);
      assert.equal([...new Set(shrunk.matrices.map(({ rank }) => rank))], [3]);
      assert.ok(shrunk.error < 1e-5, `${shrunk.error}`);
      assert.equal(shrunk.whole, []);
      using found = await shrunk.load();
      close(await found.logits(ids, 2), await logitsOf(adapter, hub), ROUNDING);
      const json = JSON.parse(await readFile(join(await written(shrunk, at('found')), 'adapter_config.json'), 'utf8'));
      assert.equal([json.r, json.lora_alpha, json.target_modules, json.modules_to_save], [3, 3, targets, null]);
      await rm(at('found'), { recursive: true });
    }
  });
});

/** Of each matrix, by what lies in the files: how far B A is from the difference. */
async function errorsOf(adapter: string, hub: string, expert: string): Promise<Map<string, number>> {
  using full = await merge(expert);
  using base = await merge(hub);
  using low = await merge(adapter, hub);
  const errors = new Map<string, number>();
  for (const [i, { name, value }] of full.trainable.entries()) {
    const [f, b, l] = [value, base.trainable[i]!.value, low.trainable[i]!.value];
    const [fs, bs, ls] = [await f.read(), await b.read(), await l.read()];
    const size = (of: (x: number, at: number) => number) => Math.hypot(...Array.from(fs, of));
    errors.set(name, size((x, at) => x - ls[at]!) / size((x, at) => x - bs[at]!));
  }
  return errors;
}

const merge = (folder: string, base?: string) => DenseModel.load(device, folder, { trainable: true, base });

shrink('errors are those of the files, and fall with the rank as the singular values say', async () => {
  await withPair(async ({ hub, expert, at }) => {
    using all = await shrinkExpert(device, expert, { hub, rank: 16 });
    let before = Number.POSITIVE_INFINITY;
    for (const rank of [1, 2, 4, 8, 12]) {
      using shrunk = await shrinkExpert(device, expert, { hub, rank });
      using cut = all.truncated(rank);
      const errors = await errorsOf(await written(shrunk, at(`rank-${rank}`)), hub, expert);
      for (const [i, { name, error, rank: own }] of shrunk.matrices.entries()) {
        assert.ok(Math.abs(error - errors.get(name)!) < 1e-5, `${name}: ${error}, by the files ${errors.get(name)}`);
        // What is found with little to spare may miss a little of the best.
        const best = cut.matrices[i]!;
        assert.equal([best.name, best.rank], [name, own]);
        assert.ok(error > best.error - 1e-5 && error < 1.01 * best.error + 1e-5, `${name}: ${error} for ${best.error}`);
      }
      assert.is(cut.parameters, shrunk.parameters);
      assert.ok(shrunk.error < before);
      before = shrunk.error;
    }
  });
});

shrink('an energy takes as much rank as it needs, matrix by matrix', async () => {
  await withPair(async ({ hub, expert, at }) => {
    using shrunk = await shrinkExpert(device, expert, { hub, energy: 0.8 });
    assert.ok(new Set(shrunk.matrices.map(({ rank }) => rank)).size > 1);
    using less = shrunk.truncated(1);
    assert.ok(less.error > shrunk.error);
    const errors = await errorsOf(await written(shrunk, at('adapter')), hub, expert);
    for (const { name, rank } of shrunk.matrices) {
      assert.ok(errors.get(name)! ** 2 <= 0.2 + 1e-5, `${name} keeps too little`);
      using one = await shrinkExpert(device, expert, { hub, rank: rank - 1 || 1 });
      const { error } = one.matrices.find((matrix) => matrix.name === name)!;
      assert.ok(rank === 1 || error ** 2 > 0.2 - 1e-3, `${name} could do with less than ${rank}`);
    }
  });
});

shrink('the same seed gives the same bytes, whatever the number of threads; another has other directions', async () => {
  await withPair(async ({ hub, expert, at }) => {
    using single = Device.open('cpu', { threads: 1 });
    const bytes = async (name: string, on: Device, seed: number) => {
      using shrunk = await shrinkExpert(on, expert, { hub, rank: 3, seed });
      return await readFile(join(await written(shrunk, at(name)), 'adapter_model.safetensors'));
    };
    const first = await bytes('a', device, 5);
    assert.ok(first.equals(await bytes('b', single, 5)));
    assert.not.ok(first.equals(await bytes('c', single, 6)));
  });
});

shrink('what has no low rank is kept whole or left, as said', async () => {
  await withPair(async ({ hub, expert, at }) => {
    const WHOLE = {
      none: [],
      embeddings: ['model.embed_tokens.weight'],
      head: ['lm_head.weight'],
      norms: [
        'model.norm.weight',
        ...[0, 1, 2].flatMap((layer) =>
          ['input_layernorm', 'post_attention_layernorm'].map((name) => `model.layers.${layer}.${name}.weight`),
        ),
      ],
    };
    const all = [...WHOLE.embeddings, ...WHOLE.norms.slice(0, 1), ...WHOLE.head, ...WHOLE.norms.slice(1)];
    for (const [part, names] of Object.entries(WHOLE)) {
      using shrunk = await shrinkExpert(device, expert, { hub, rank: 16, whole: [part as 'norms'] });
      assert.equal(shrunk.whole, names);
      assert.equal(
        shrunk.left,
        all.filter((name) => !(names as string[]).includes(name)),
      );
      const folder = await written(shrunk, at(part));
      const { adapter } = await openCheckpoint(folder, { base: hub });
      assert.equal([...adapter!.replaced.keys()], names);
    }
    using shrunk = await shrinkExpert(device, expert, { hub, rank: 16, whole: ['embeddings', 'head', 'norms'] });
    assert.equal(shrunk.left, []);
  });
});

shrink('biases that differ are kept with the modules that they belong to', async () => {
  await withPair(async ({ hub, expert, at }) => {
    using shrunk = await shrinkExpert(device, expert, { hub, rank: 16 });
    assert.is(shrunk.whole.filter((name) => name.endsWith('.bias')).length, 9);
    const { adapter } = await openCheckpoint(await written(shrunk, at('a')), { base: hub });
    const entry = adapter!.replaced.get('model.layers.0.self_attn.q_proj.bias')!;
    assert.is(entry.name, 'base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias');
  }, CONFIGS.qwen2);
});

shrink('layers that are the same have an adapter that adds nothing; files in bf16 stay so', async () => {
  await inTemporaryFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    const hub = await writeModel(device, at('hub'), { dtype: 'bf16' });
    using model = await DenseModel.load(device, hub, { trainable: true, freeze: ['embeddings', 'head', 'norms'] });
    const changed = model.trainable.filter(({ name }) => /layers\.[02]\.self_attn\.[qv]_proj/.test(name));
    randomize({ device, trainable: changed }, 2);
    const expert = await written(model, at('expert'), 'bf16');
    using shrunk = await shrinkExpert(device, expert, { hub, rank: 4 });
    const ranks = shrunk.matrices.map(({ name, rank, error }) => [name.slice('model.layers.'.length), rank, error > 0]);
    assert.equal(
      ranks.sort(),
      [0, 1, 2].flatMap((layer) =>
        ['q', 'v'].map((role) => [`${layer}.self_attn.${role}_proj.weight`, layer === 1 ? 1 : 4, layer !== 1]),
      ),
    );
    const { adapter } = await openCheckpoint(await written(shrunk, at('adapter')), { base: hub });
    assert.equal([...adapter!.lowRank.values()].map(({ down }) => down.dtype)[0], 'BF16');
    assert.is(adapter!.lowRank.size, 6);
  });
});

shrink('what cannot be is told', async () => {
  await withPair(async ({ hub, expert, at }) => {
    const to = (options: object, place = expert) => shrinkExpert(device, place, { hub, ...options } as ShrinkOptions);
    await fails(() => to({}), 'BAD_OPTION', /give one of the two/);
    await fails(() => to({ rank: 2, energy: 0.5 }), 'BAD_OPTION', /give one of the two/);
    await fails(() => to({ rank: 17 }), 'BAD_OPTION', /rank 17 is more than any matrix .*16 at most/);
    await fails(() => to({ energy: 1.5 }), 'BAD_OPTION', /energy must be a number from 0 to 1/);
    await fails(() => to({ rank: 2, whole: ['heads'] }), 'BAD_OPTION', /'heads'/);
    await fails(() => to({ rank: 2, ranks: [1] }), 'BAD_OPTION', /no option 'ranks'/);
    await fails(() => to({ rank: 2 }, hub), 'BAD_OPTION', /no matrix of '.*hub' differs/);
    await fails(() => to({ rank: 2 }, at('nowhere')), 'FILE_NOT_FOUND', /nowhere/);

    const { llama } = CONFIGS;
    const other = async (name: string, config: ModelConfig) => writeModel(device, at(name), { config, seed: 2 });
    const wide = await other('wide', { ...llama, feedForward: { ...llama.feedForward, width: 32 } });
    await fails(() => to({ rank: 2 }, wide), 'MEMBERS_DIFFER', /feedForwardWidth 32, the hub 24/);
    const words = await other('words', { ...llama, vocabularySize: 300 });
    await fails(() => to({ rank: 2 }, words), 'MEMBERS_DIFFER', /vocabularySize 300, the hub 257/);
    const phi = await other('phi', CONFIGS.phi3);
    await fails(() => to({ rank: 2 }, phi), 'MEMBERS_DIFFER', /rotated|store the weights of a layer as other tensors/);
    const tied = await other('tied', { ...llama, embedding: { tied: true, scale: 1 } });
    await fails(() => to({ rank: 2 }, tied), 'MEMBERS_DIFFER', /whether the head is the embedding/);
    const turned = { ...llama.rope, global: { kind: 'default', theta: 500 } as const };
    const rope = await other('rope', { ...llama, rope: { ...turned, local: turned.global } });
    await fails(() => to({ rank: 2 }, rope), 'MEMBERS_DIFFER', /computes as its hub does.*RoPE/);

    using model = await DenseModel.load(device, expert, { trainable: true });
    const one = (part: string) => model.trainable.find(({ name }) => name.includes(part))!.value;
    for (const [part, bad] of [
      ['layers.1.mlp.up_proj', Number.NaN],
      ['layers.2.input_layernorm', Number.POSITIVE_INFINITY],
    ] as const) {
      const value = one(part);
      const before = await value.read();
      value.write(before.map((x, i) => (i === 5 ? bad : x)));
      const broken = await written(model, at('broken'));
      await fails(
        () => to({ rank: 2 }, broken),
        'BAD_CHECKPOINT',
        new RegExp(`broken': .*${part}.* no finite numbers`),
      );
      value.write(before);
      await rm(broken, { recursive: true });
    }
  });
  await inTemporaryFolder(async (folder) => {
    const { qwen2: config } = CONFIGS;
    const hub = await writeModel(device, join(folder, 'hub'), { config });
    const expert = await writeModel(device, join(folder, 'expert'), { config, seed: 2 });
    const message = /the embedding .* is its head, too.*whole: norms,biases/;
    await fails(() => shrinkExpert(device, expert, { hub, rank: 2 }), 'BAD_ADAPTER', message);
    using shrunk = await shrinkExpert(device, expert, { hub, rank: 2, whole: ['norms', 'biases'] });
    assert.equal(shrunk.left, ['model.embed_tokens.weight']);
  });
});

shrink('products in bf16 are not exact enough', async () => {
  const why = whyNotBf16();
  if (why !== undefined) return console.log(`skipped: ${why}`);
  await withPair(async ({ hub, expert }) => {
    using coarse = Device.open('cpu', { precision: 'bf16' });
    await fails(() => shrinkExpert(coarse, expert, { hub, rank: 2 }), 'BAD_OPTION', /precision: 'f32'/);
  });
});

shrink('where memory runs out, or somebody stops it, nothing is left', async () => {
  const config = { ...CONFIGS.llama, layers: 1 };
  await withPair(async ({ hub, expert }) => {
    const failed = await runOutOfMemory(device, () => shrinkExpert(device, expert, { hub, rank: 4 }));
    assert.ok(failed > 100, `${failed}`);
    const before = await liveBytes(device);
    const controller = new AbortController();
    const onProgress = (done: number) => done === 3 && controller.abort();
    const options: ShrinkOptions = { hub, rank: 4, signal: controller.signal, onProgress };
    await fails(() => shrinkExpert(device, expert, options), 'ABORTED', /stopped/);
    assert.is(await liveBytes(device), before);
    {
      using shrunk = await shrinkExpert(device, expert, { hub, rank: 4 });
      await runOutOfMemory(device, () => shrunk.load());
    }
    assert.is(await liveBytes(device), before);
  }, config);
});

shrink.run();
