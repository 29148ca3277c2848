/** Checkpoints that others quantized: GPTQ, AWQ, compressed-tensors. */
import { copyFile, mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { openCheckpoint } from '../../lib/checkpoint/dense-checkpoint.js';
import { hashConfig } from '../../lib/checkpoint/hash.js';
import { isPacked } from '../../lib/checkpoint/packed/matrix.js';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import type { TensorSource } from '../../lib/checkpoint/safetensors-writer.js';
import { stitchedCost } from '../../lib/model/cost/cost.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { preflight } from '../../lib/model/members/preflight.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { isQuantized } from '../../lib/tensor/addon.js';
import { Scope } from '../../lib/tensor/scope.js';
import { fails } from '../data/data-fixtures.js';
import { download } from '../support/case.js';
import { devices } from '../support/devices.js';
import { varied } from '../support/flat-config.js';
import { CONFIGS, close, inTemporaryFolder, runOutOfMemory, writeTokenizer } from '../support/models.js';
import { type PackedFormat, writePacked } from '../support/packed.js';
import { narrow } from '../support/reference-halves.js';

const packed = suite('packed');
const CONFIG = varied(CONFIGS.llama, {
  vocabularySize: 264,
  width: 128,
  feedForwardWidth: 256,
  layers: 2,
  headWidth: 32,
});
const IDS = Array.from({ length: 12 }, (_, i) => (i * 37) % 256);

/** What matrices are held in. */
type Held = 'int4' | 'int8' | 'f16' | 'bf16' | 'f32';
const gptq = { kind: 'gptq', bits: 4, groupSize: 32, symmetric: true } as const;
const compressed = { kind: 'pack-quantized', bits: 4, groupSize: 32, symmetric: true } as const;
const FORMATS: [format: PackedFormat, held: Held][] = [
  [gptq, 'int4'],
  [{ ...gptq, symmetric: false, emptyBiases: true }, 'int4'],
  [{ ...gptq, symmetric: false, groupSize: 128 }, 'int4'],
  [{ ...gptq, symmetric: false, groupSize: -1 }, 'int4'],
  [{ ...gptq, kind: 'gptq_v2', symmetric: false }, 'int4'],
  [{ ...gptq, kind: 'gptq_v2', groupSize: 64, scales: 'bf16' }, 'int4'],
  [{ ...gptq, symmetric: false, ordered: true }, 'f16'],
  [{ ...gptq, groupSize: 16 }, 'f16'],
  [{ ...gptq, symmetric: false, scales: 'f32' }, 'f32'],
  [{ ...gptq, bits: 8, groupSize: 128 }, 'int8'],
  [{ ...gptq, bits: 8, groupSize: -1 }, 'int8'],
  [{ ...gptq, bits: 8, groupSize: 64 }, 'f16'],
  [{ ...gptq, bits: 8, groupSize: 128, symmetric: false }, 'f16'],
  [{ ...gptq, kind: 'gptq_v2', bits: 8, groupSize: 64, ordered: true }, 'f16'],
  [{ ...gptq, kind: 'awq', symmetric: false, groupSize: 128 }, 'int4'],
  [{ ...gptq, kind: 'awq', symmetric: false, groupSize: 64, ignored: ['self_attn.k_proj'] }, 'int4'],
  [compressed, 'int4'],
  [{ ...compressed, symmetric: false, scales: 'bf16' }, 'int4'],
  [{ ...compressed, symmetric: false, plainZeros: true, ignored: ['model.layers.1.mlp.down_proj'] }, 'int4'],
  [{ ...compressed, groupSize: -1, symmetric: false }, 'int4'],
  [{ ...compressed, groupSize: 64, symmetric: false, ordered: true, scales: 'bf16' }, 'bf16'],
  [{ ...compressed, bits: 8, groupSize: -1, scales: 'bf16' }, 'int8'],
  [{ ...compressed, bits: 8, groupSize: 128, symmetric: false }, 'f16'],
  [{ ...compressed, kind: 'int-quantized', bits: 8, groupSize: -1, scales: 'f32' }, 'int8'],
  [{ ...compressed, kind: 'int-quantized', bits: 8, groupSize: -1, perTensor: true }, 'int8'],
  [{ ...compressed, kind: 'int-quantized', bits: 8, groupSize: 128, symmetric: false, scales: 'bf16' }, 'bf16'],
];

const label = (format: object) => JSON.stringify(format).replaceAll('"', '');
const typesOf = (model: DenseModel) => {
  const layers = [0, 1].flatMap((layer) => Object.values(model.transformer.members[0]!.layer(layer)));
  return new Set(layers.filter(({ value }) => value.shape.length === 2).map(({ value }) => value.dtype));
};

// Instruction sets are compared by the tests of ops.
const [device, ...others] = devices();
const tested = [device!, ...others.filter(({ name }) => name !== 'cpu')];
for (const each of tested) {
  for (const [format, held] of FORMATS) {
    packed(`${each.label}: ${label(format)} is held in ${held}`, async () => {
      await inTemporaryFolder(async (folder) => {
        const [coded, plain] = [join(folder, 'coded'), join(folder, 'plain')];
        const round = (x: number) => (isQuantized(held) ? Math.fround(x) : narrow(x, held));
        const { numbers } = await writePacked(coded, plain, CONFIG, format, { round });
        using model = await DenseModel.load(each, coded);
        for (const { name, value } of model.transformer.members[0]!.parameters) {
          const expected = numbers.get(name);
          if (!expected) continue;
          assert.is(value.dtype, held, name);
          const got = await download(value);
          assert.equal([...got], [...expected.map(round)], name);
        }
        using reference = await DenseModel.load(each, plain);
        const [got, want] = [await model.logits(IDS), await reference.logits(IDS)];
        if (each.name === 'cpu') assert.equal(got, want);
        else close(got, want, each.precision === 'bf16' ? 0.05 : 1e-5);
        if (format.ignored) assert.ok(typesOf(model).has('f32'));
      });
    });
  }
}

packed('groups that compressed-tensors left unset are of neighbours', async () => {
  await inTemporaryFolder(async (folder) => {
    const unset = (inputs: number) => ({
      dtype: 'I32' as const,
      shape: [inputs],
      data: async () => new Uint8Array(4 * inputs).fill(255),
    });
    const change = (all: TensorSource[]) =>
      all.flatMap((tensor) =>
        tensor.name.endsWith('.weight_packed')
          ? [tensor, { name: tensor.name.replace('_packed', '_g_idx'), ...unset(8 * tensor.shape[1]!) }]
          : [tensor],
      );
    const [coded, plain] = [join(folder, 'coded'), join(folder, 'plain')];
    await writePacked(coded, plain, CONFIG, compressed, { change });
    using model = await DenseModel.load(device!, coded);
    using reference = await DenseModel.load(device!, plain);
    assert.equal(await model.logits(IDS), await reference.logits(IDS));
  });
});

/** A hub and an expert in codes, with tokenizers. */
async function withMembers(format: PackedFormat, use: (at: (name: string) => string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    const at = (name: string) => join(folder, name);
    for (const [seed, name] of ['hub', 'code'].entries()) {
      await writePacked(at(name), at(`plain-${name}`), CONFIG, format, { seed });
      for (const kind of ['', 'plain-']) await writeTokenizer(at(`${kind}${name}`));
    }
    await use(at);
  });
}

/** The gradients of the stitches for one batch, one behind the other. */
async function gradientsOf(model: StitchedModel): Promise<Float32Array[]> {
  using scope = Scope.recording(model.device);
  const batch = { inputs: Int32Array.from(IDS), targets: Int32Array.from(IDS), tokens: 12, batch: 1 };
  const loss = await model.trainingLoss(scope, batch as never, 12, 1);
  scope.tape!.backward(loss);
  return await Promise.all(model.trainable.map(({ gradient }) => gradient!.read()));
}

for (const each of tested)
  for (const format of [
    { ...gptq, symmetric: false },
    { ...compressed, kind: 'int-quantized', bits: 8, groupSize: -1 },
  ] as const)
    packed(
      `${each.label}: members in ${format.bits} bits are stitched, and compute what those in floats do`,
      async () => {
        await withMembers(format, async (at) => {
          const create = (kind: string) =>
            StitchedModel.create(each, {
              hub: at(`${kind}hub`),
              experts: { code: at(`${kind}code`) },
              stitches: 2,
              seed: 3,
            });
          using model = await create('');
          using plain = await create('plain-');
          assert.equal(await model.logits(IDS), await plain.logits(IDS));
          // Few rows may be summed in another order.
          const few = IDS.slice(0, 3);
          close(await model.logits(few), await plain.logits(few), each.activations === 'bf16' ? 0.03 : 1e-5);
          const gradients = await gradientsOf(model);
          assert.ok(gradients.every((gradient) => gradient.some((x) => x !== 0)));
          assert.equal(gradients, await gradientsOf(plain));
          const { members, findings } = await preflight(at('hub'), { code: at('code') });
          assert.equal(findings, []);
          const packed = members.map(({ packed }) => packed);
          const shape = { ...model.manifest, members: members.map(({ config }) => config!), packed };
          const stitches = model.trainable.reduce((sum, { value }) => sum + value.bytes, 0);
          const held = model.transformer.members.reduce((sum, { bytes }) => sum + bytes, 0);
          assert.is(stitchedCost(shape, { batch: 1, tokens: 8 }).weightBytes, held + stitches);
        });
      },
    );

packed('a member that is widened is told with its memory, and may be held in codes of ours', async () => {
  await withMembers({ ...gptq, ordered: true }, async (at) => {
    const { findings } = await preflight(at('hub'), { code: at('code') });
    assert.equal(
      findings.map(({ code, member }) => [code, member]),
      [
        ['WIDENED', 'hub'],
        ['WIDENED', 'code'],
      ],
    );
    assert.match(
      findings[0]!.message,
      /14 of 14 matrices .* widened to f16, .* 0\.6 MiB in place of 0\.2 MiB: .*desc_act/,
    );
    using model = await DenseModel.load(device!, at('hub'), { members: 'int8' });
    assert.equal([...typesOf(model)], ['int8']);
    using trained = await DenseModel.load(device!, at('hub'), { trainable: true });
    using plain = await DenseModel.load(device!, at('plain-hub'));
    assert.equal(await trained.logits(IDS), await plain.logits(IDS));
  });
});

packed('a head in codes that is frozen is written with a model that is trained', async () => {
  await inTemporaryFolder(async (folder) => {
    const [coded, written] = [join(folder, 'coded'), join(folder, 'written')];
    const { numbers } = await writePacked(coded, join(folder, 'plain'), CONFIG, { ...gptq, head: true });
    await writeTokenizer(coded);
    using model = await DenseModel.load(device!, coded, { trainable: true, freeze: ['head'] });
    const head = model.transformer.members[0]!.shared('head').value;
    assert.is(head.dtype, 'f16');
    const expected = numbers.get('lm_head.weight')!.map((x) => narrow(x, 'f16'));
    assert.equal([...(await download(head))], [...expected]);
    await mkdir(written);
    await model.write(written);
    using again = await DenseModel.load(device!, written);
    assert.equal(await again.logits(IDS), await model.logits(IDS));
  });
});

packed('codes stay what they are, whatever members are to be held in', async () => {
  await withMembers(gptq, async (at) => {
    using model = await DenseModel.load(device!, at('hub'), { members: 'int8' });
    assert.equal([...typesOf(model)], ['int4']);
  });
});

packed('what config.json says of codes is a part of what a member is', async () => {
  await withMembers({ ...gptq, symmetric: false }, async (at) => {
    const { config } = await openCheckpoint(at('hub'));
    const path = join(at('hub'), 'config.json');
    const json = JSON.parse(await readFile(path, 'utf8'));
    json.quantization_config.checkpoint_format = 'gptq_v2';
    await writeFile(path, JSON.stringify(json));
    assert.not.equal(hashConfig((await openCheckpoint(at('hub'))).config), hashConfig(config));
  });
});

packed('memory that runs out leaves nothing behind', async () => {
  for (const ordered of [false, true])
    await withMembers({ ...gptq, ordered }, async (at) => {
      assert.ok((await runOutOfMemory(device!, () => DenseModel.load(device!, at('hub')))) > 50);
    });
});

const MODULE = 'model.layers.1.mlp.up_proj';
const renamed = (part: string, change: (tensor: TensorSource) => TensorSource | undefined) => (all: TensorSource[]) =>
  all.flatMap((tensor) => (tensor.name === `${MODULE}.${part}` ? (change(tensor) ?? []) : tensor));
const bytesOf = (part: string, change: (bytes: Uint8Array) => void) =>
  renamed(part, (tensor) => ({
    ...tensor,
    data: async () => {
      const bytes = await tensor.data();
      change(bytes);
      return bytes;
    },
  }));
const reshaped = (part: string) => renamed(part, (tensor) => ({ ...tensor, shape: [...tensor.shape].reverse() }));

type Wrong = [what: string, format: PackedFormat, options: object, message: RegExp];
const WRONG: Wrong[] = [
  [
    'codes of another shape',
    gptq,
    { change: reshaped('qweight') },
    /up_proj" has ".*qweight" of \[256,16\], not \[16,256\]/,
  ],
  [
    'scales of another shape',
    gptq,
    { change: reshaped('scales') },
    /up_proj" has ".*scales" of \[256,4\], not \[4,256\]/,
  ],
  [
    'zeros that are missing',
    gptq,
    { change: renamed('qzeros', () => undefined) },
    /up_proj" lacks its tensor "qzeros"/,
  ],
  [
    'scales that are missing',
    compressed,
    { change: renamed('weight_scale', () => undefined) },
    /up_proj" lacks .*"weight_scale"/,
  ],
  [
    'a scale that is no number',
    gptq,
    { change: bytesOf('scales', (bytes) => bytes.set([0, 0x7e], 6)) },
    /"model\.layers\.1\.mlp\.up_proj\.weight" has the scale 3 in ".*scales", which is not finite/,
  ],
  [
    'groups that do not divide',
    { ...gptq, groupSize: 32 },
    { json: { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 48, sym: true } } },
    /has 128 inputs, which groups of 48 do not divide/,
  ],
  [
    'bits that contradict the tensors',
    gptq,
    { json: { quantization_config: { quant_method: 'gptq', bits: 8, group_size: 32, sym: true } } },
    /qweight" of \[16,128\], not \[32,128\]/,
  ],
  [
    'zeros that contradict sym',
    { ...gptq, symmetric: false },
    { json: { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32, sym: true } } },
    /has the zero \d+ in ".*qzeros", where config.json says that all are the middle, 8/,
  ],
  [
    'an order that contradicts desc_act',
    { ...gptq, ordered: true },
    { json: { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32, sym: true } } },
    /inputs out of order in ".*g_idx", which they are not by config/,
  ],
  [
    'an order that is missing',
    gptq,
    {
      json: { quantization_config: { quant_method: 'gptq', bits: 4, group_size: 32, sym: true, desc_act: true } },
      change: (all: TensorSource[]) => all.filter(({ name }) => !name.endsWith('g_idx')),
    },
    /lacks the groups of its inputs/,
  ],
  [
    'a group that is not there',
    gptq,
    { change: bytesOf('g_idx', (bytes) => bytes.set([4], 0)) },
    /up_proj" has an input in group 4 of 4/,
  ],
  [
    'groups of different sizes',
    { ...gptq, ordered: true },
    { change: bytesOf('g_idx', (bytes) => bytes.fill(0)) },
    /up_proj" has 128 inputs in group 0 of ".*g_idx", not 32/,
  ],
  [
    'groups in bytes',
    gptq,
    { change: renamed('g_idx', (tensor) => ({ ...tensor, dtype: 'I8', shape: [512] })) },
    /up_proj" has ".*g_idx" in I8, not I32, I64/,
  ],
  [
    'groups in two rows',
    gptq,
    { change: renamed('g_idx', (tensor) => ({ ...tensor, shape: [2, 64] })) },
    /up_proj" has ".*g_idx" of \[2,64\], not \[128\]/,
  ],
  [
    'a shape of four numbers',
    compressed,
    { change: renamed('weight_shape', (tensor) => ({ ...tensor, dtype: 'I32', shape: [4] })) },
    /up_proj" has ".*weight_shape" of \[4\], not \[2\]/,
  ],
  [
    'a bias that is no float',
    { ...gptq, emptyBiases: true },
    { change: renamed('bias', (tensor) => ({ ...tensor, dtype: 'I8', shape: [512] })) },
    /up_proj" has ".*bias" in I8, not F16, BF16, F32/,
  ],
  [
    'a bias of another length',
    { ...gptq, emptyBiases: true },
    { change: renamed('bias', (tensor) => ({ ...tensor, shape: [2, 128] })) },
    /up_proj" has ".*bias" of \[2,128\], not \[256\]/,
  ],
  [
    'a shape that contradicts',
    compressed,
    { change: bytesOf('weight_shape', (bytes) => bytes.set([7], 0)) },
    /up_proj" says in weight_shape that it is \[263,128\]/,
  ],
  [
    'codes where config.json has none',
    compressed,
    {
      json: {
        quantization_config: {
          ...JSON.parse(
            '{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"a":{"targets":["Linear"],"weights":{"num_bits":4,"group_size":32,"strategy":"group"}}}}',
          ),
          ignore: ['lm_head', 're:.*up_proj'],
        },
      },
    },
    /up_proj" is in codes, but config.json says that it was left as it was/,
  ],
  [
    'floats where config.json has codes',
    { ...compressed, ignored: ['up_proj'] },
    {},
    /up_proj" is quantized by config.json, but its weight is in floats/,
  ],
  [
    'a weight in codes and in floats',
    gptq,
    {
      change: (all: TensorSource[]) => [
        ...all,
        { ...all.find(({ name }) => name === 'lm_head.weight')!, name: `${MODULE}.weight` },
      ],
    },
    /up_proj" has its weight in codes and in floats/,
  ],
  [
    'a bias that is not zero',
    { ...gptq, emptyBiases: true },
    { change: bytesOf('bias', (bytes) => bytes.set([1], 4)) },
    /up_proj" has a bias, which this family has not/,
  ],
];

for (const [what, format, options, message] of WRONG) {
  packed(`refused: ${what}`, async () => {
    await inTemporaryFolder(async (folder) => {
      await writePacked(join(folder, 'coded'), join(folder, 'plain'), CONFIG, format, options);
      await fails(() => DenseModel.load(device!, join(folder, 'coded')), 'BAD_CHECKPOINT', message);
    });
  });
}

packed('refused: a file that is cut off', async () => {
  await withMembers(gptq, async (at) => {
    const path = join(at('hub'), 'model.safetensors');
    await copyFile(path, `${path}.whole`);
    await truncate(path, (await readFile(path)).length - 9);
    await fails(() => DenseModel.load(device!, at('hub')), 'BAD_SAFETENSORS', /cut short/);
    assert.ok((await readSafetensors(`${path}.whole`)).tensors.size > 0);
  });
});

packed('which tensors are in codes is told by the checkpoint', async () => {
  await withMembers({ ...compressed, ignored: ['model.layers.1.mlp.down_proj'] }, async (at) => {
    const { tensors } = await openCheckpoint(at('hub'));
    assert.is([...tensors.values()].filter(isPacked).length, 13);
  });
});

packed.after(() => {
  for (const each of tested) each.dispose();
});

packed.run();
