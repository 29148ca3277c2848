import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, symlink, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { hashFile } from '../../lib/base/file-hash.js';
import { parseJson } from '../../lib/base/json.js';
import { formatOwner, thisProcess } from '../../lib/base/owner.js';
import { parseConfig } from '../../lib/checkpoint/config.js';
import { openCheckpoint, readConfig } from '../../lib/checkpoint/dense-checkpoint.js';
import { hashCheckpoint, hashConfig } from '../../lib/checkpoint/hash.js';
import { parameterNames, rolesOf } from '../../lib/checkpoint/names.js';
import { readTensor, type TensorEntry } from '../../lib/checkpoint/safetensors.js';
import type { TensorSource } from '../../lib/checkpoint/safetensors-writer.js';
import { fails, inFolder } from '../data/data-fixtures.js';
import { shared } from '../support/devices.js';
import { parameters, TINY, tensor, writeModel } from './checkpoint-fixtures.js';

const EMPTY_SHA256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

/** The shapes of one layer by role, the others by their name alone. */
function layerShapes(json: Record<string, unknown>): Record<string, readonly number[]> {
  const specs = parameterNames(parseConfig({ ...TINY, ...json }, 'x'));
  return Object.fromEntries(
    specs.filter(({ layer }) => layer === 1).flatMap((spec) => rolesOf(spec).map((role) => [role, spec.shape])),
  );
}

const PLAIN_LAYER = {
  attentionNorm: [8],
  query: [12, 8],
  key: [6, 8],
  value: [6, 8],
  output: [8, 12],
  feedForwardNorm: [8],
  gate: [12, 8],
  up: [12, 8],
  down: [8, 12],
};
const QKV_BIASES = { queryBias: [12], keyBias: [6], valueBias: [6] };

test('a layer has the parameters that its family and options give it', () => {
  const json = { head_dim: 6 };
  assert.equal(layerShapes(json), PLAIN_LAYER);
  assert.equal(layerShapes({ ...json, model_type: 'mistral' }), PLAIN_LAYER);
  assert.equal(layerShapes({ ...json, model_type: 'qwen2' }), { ...PLAIN_LAYER, ...QKV_BIASES });
  assert.equal(layerShapes({ ...json, model_type: 'qwen3' }), { ...PLAIN_LAYER, queryNorm: [6], keyNorm: [6] });
  assert.equal(layerShapes({ ...json, attention_bias: true }), { ...PLAIN_LAYER, ...QKV_BIASES, outputBias: [8] });
  assert.equal(layerShapes({ ...json, mlp_bias: true }), {
    ...PLAIN_LAYER,
    gateBias: [12],
    upBias: [12],
    downBias: [8],
  });
});

test('parameters are called what Hugging Face calls them', () => {
  const config = parseConfig({ ...TINY, num_hidden_layers: 1, attention_bias: true, mlp_bias: true }, 'x');
  assert.equal(
    parameterNames(config)
      .map(({ name }) => name)
      .sort(),
    [
      'lm_head.weight',
      'model.embed_tokens.weight',
      'model.layers.0.input_layernorm.weight',
      'model.layers.0.mlp.down_proj.bias',
      'model.layers.0.mlp.down_proj.weight',
      'model.layers.0.mlp.gate_proj.bias',
      'model.layers.0.mlp.gate_proj.weight',
      'model.layers.0.mlp.up_proj.bias',
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.0.post_attention_layernorm.weight',
      'model.layers.0.self_attn.k_proj.bias',
      'model.layers.0.self_attn.k_proj.weight',
      'model.layers.0.self_attn.o_proj.bias',
      'model.layers.0.self_attn.o_proj.weight',
      'model.layers.0.self_attn.q_proj.bias',
      'model.layers.0.self_attn.q_proj.weight',
      'model.layers.0.self_attn.v_proj.bias',
      'model.layers.0.self_attn.v_proj.weight',
      'model.norm.weight',
    ],
  );
  assert.not(
    parameterNames({ ...config, embedding: { ...config.embedding, tied: true } }).some((spec) =>
      rolesOf(spec).includes('head'),
    ),
  );
});

test('opens what it wrote, whole or in shards', () =>
  inFolder({}, async (folder) => {
    const config = parseConfig({ ...TINY, model_type: 'qwen3' }, 'x');
    const sources = parameters(config, 'BF16');
    for (const maxShardBytes of [1e9, 300]) {
      const place = join(folder, `${maxShardBytes}`);
      await writeModel(place, { ...TINY, model_type: 'qwen3' }, sources, { maxShardBytes });
      const checkpoint = await openCheckpoint(place);
      assert.equal(checkpoint.config, config);
      assert.equal(
        [...checkpoint.tensors.keys()],
        parameterNames(config).map(({ name }) => name),
      );
      for (const { name, data } of sources)
        assert.equal(await readTensor(checkpoint.tensors.get(name) as TensorEntry), await data());
    }
    assert.ok((await readdir(join(folder, '300'))).length > 3);
  }));

test('opens a checkpoint through links, as the Hugging Face cache has them', () =>
  inFolder({}, async (folder) => {
    await writeModel(join(folder, 'blobs'), TINY);
    await mkdir(join(folder, 'snapshot'));
    for (const name of await readdir(join(folder, 'blobs'))) {
      await symlink(join('..', 'blobs', name), join(folder, 'snapshot', name));
    }
    assert.is((await openCheckpoint(join(folder, 'snapshot'))).tensors.size, 21);
  }));

const PARAMETERS = parameters(parseConfig(TINY, 'x'));
const without = (...names: string[]) => PARAMETERS.filter(({ name }) => !names.includes(name));
const instead = (source: TensorSource) => [...without(source.name), source];
const GATE = 'model.layers.1.mlp.gate_proj.weight';

const UNFIT: [what: string, tensors: TensorSource[], message: RegExp][] = [
  ['lacks a tensor', without(GATE), /config.json\. missing: model.layers.1.mlp.gate_proj.weight\.$/],
  ['lacks its head', without('lm_head.weight'), /missing: lm_head.weight\./],
  ['has an unknown tensor', [...PARAMETERS, tensor('x.lora_A', 'F32', [1])], /unexpected: "x.lora_A"\./],
  [
    'has a bias too many',
    [...PARAMETERS, tensor(GATE.replace('weight', 'bias'), 'F32', [12])],
    /unexpected: "model.*bias"/,
  ],
  [
    'has a layer too many',
    [...PARAMETERS, tensor(GATE.replace('1', '2'), 'F32', [12, 8])],
    /unexpected: "model.layers.2/,
  ],
  ['has a transposed tensor', instead(tensor(GATE, 'F32', [8, 12])), /gate_proj.weight is \[8,12\], not \[12,8\]/],
  ['has a flattened tensor', instead(tensor(GATE, 'F32', [96])), /is \[96\], not \[12,8\]/],
  ['has a tensor of integers', instead(tensor(GATE, 'I8', [12, 8])), /is I8, not F32, F16 or BF16/],
  ['has a tensor in double precision', instead(tensor(GATE, 'F64', [12, 8])), /is F64, not/],
  ['is another model altogether', [tensor('a', 'F32', [1])], /missing: .* and 16 more\. unexpected: "a"\./],
];

for (const [what, tensors, message] of UNFIT) {
  test(`refuses a checkpoint that ${what}`, () =>
    inFolder({}, async (folder) => {
      await writeModel(folder, TINY, tensors);
      await fails(() => openCheckpoint(folder), 'BAD_CHECKPOINT', message);
    }));
}

test('names all faults of a checkpoint at once', () =>
  inFolder({}, async (folder) => {
    await writeModel(folder, TINY, [
      ...without('model.norm.weight', GATE),
      tensor(GATE, 'F16', [1]),
      tensor('y', 'I64', []),
    ]);
    await fails(
      () => openCheckpoint(folder),
      'BAD_CHECKPOINT',
      /missing: model.norm.weight\. unexpected: "y"\. wrong: .*gate/,
    );
  }));

test('passes over rotary frequencies', () =>
  inFolder({}, async (folder) => {
    const frequencies = tensor('model.layers.0.self_attn.rotary_emb.inv_freq', 'F32', [2]);
    await writeModel(folder, TINY, [...PARAMETERS, frequencies]);
    const { tensors } = await openCheckpoint(folder);
    assert.not(tensors.has(frequencies.name));
  }));

test('a tied model may repeat its embedding as its head, but not have another head', () =>
  inFolder({}, async (folder) => {
    const tied = { ...TINY, tie_word_embeddings: true };
    const own = parameters(parseConfig(tied, 'x'));
    const head = (fill: number, shape = [11, 8]) => [...own, tensor('lm_head.weight', 'F32', shape, fill)];
    await writeModel(join(folder, 'none'), tied);
    await writeModel(join(folder, 'same'), tied, head(1));
    await writeModel(join(folder, 'other'), tied, head(2));
    await writeModel(join(folder, 'longer'), tied, head(1, [12, 8]));
    for (const name of ['none', 'same']) {
      assert.not((await openCheckpoint(join(folder, name))).tensors.has('lm_head.weight'), name);
    }
    for (const name of ['other', 'longer']) {
      await fails(
        () => openCheckpoint(join(folder, name)),
        'BAD_CHECKPOINT',
        /lm_head.weight differs from its embedding/,
      );
    }
  }));

test('opens a checkpoint whose replacement was cut off by a crash', () =>
  inFolder({}, async (folder) => {
    await writeModel(join(folder, 'hub'), TINY);
    const dead = formatOwner({ ...(await thisProcess()), started: 0 });
    await rename(join(folder, 'hub'), join(folder, `.hub~old~${dead}~00000000`));
    assert.is((await openCheckpoint(join(folder, 'hub'))).tensors.size, 21);
  }));

test('a tied embedding that is stored as lm_head.weight alone is the embedding', () =>
  inFolder({}, async (folder) => {
    const json = { ...TINY, tie_word_embeddings: true };
    const [embedding, ...others] = parameters(parseConfig(json, 'x'));
    const head = { ...embedding!, name: 'lm_head.weight' };
    for (const [name, maxShardBytes] of Object.entries({ whole: 1e9, shards: 300 })) {
      await writeModel(join(folder, name), json, [...others, head], { maxShardBytes });
      const { tensors } = await openCheckpoint(join(folder, name));
      assert.equal(
        [...tensors.keys()],
        parameterNames(parseConfig(json, 'x')).map(({ name }) => name),
      );
      assert.equal(await readTensor(tensors.get('model.embed_tokens.weight') as TensorEntry), await embedding!.data());
    }
    await writeModel(join(folder, 'untied'), TINY, [...others, head]);
    await fails(
      () => openCheckpoint(join(folder, 'untied')),
      'BAD_CHECKPOINT',
      /missing: model.embed_tokens.weight\.$/,
    );
  }));

const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 4976698672\n`;
const INDEX = JSON.stringify({ weight_map: { a: 'model-1.safetensors' } });
const pointers: [file: string, code: ErrorCode, beside: Record<string, string>][] = [
  ['config.json', 'BAD_CONFIG', {}],
  ['generation_config.json', 'BAD_CONFIG', {}],
  ['model.safetensors', 'BAD_SAFETENSORS', {}],
  ['model.safetensors.index.json', 'BAD_SAFETENSORS', {}],
  ['model-1.safetensors', 'BAD_SAFETENSORS', { 'model.safetensors.index.json': INDEX }],
];
for (const [file, code, beside] of pointers) {
  test(`a ${file} that Git LFS did not fetch is named as such`, () =>
    inFolder({ 'config.json': JSON.stringify(TINY), ...beside, [file]: POINTER }, (folder) =>
      fails(
        () => openCheckpoint(folder),
        code,
        new RegExp(`${file}'.* is a Git LFS pointer, and the file of 4976698672 bytes .* Run 'git lfs pull'`),
      ),
    ));
}

test('reads JSON with the numbers that Python writes and JSON lacks', () => {
  const parse = (text: string) => parseJson(Buffer.from(text), (reason) => new Error(reason));
  assert.equal(parse('{"a": [NaN, -Infinity, Infinity, 1], "NaN": "\\"NaN, Infinity\\""}'), {
    a: [Number.NaN, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 1],
    NaN: '"NaN, Infinity"',
  });
  assert.throws(() => parse('{"a": NaNs}'), /^is not valid JSON: /);
  assert.throws(() => parse('{"a": nan}'), /^is not valid JSON: /);
});

test('a checkpoint whose configurations hold NaN where nothing is read from it opens', () =>
  inFolder({}, async (folder) => {
    await writeModel(folder, TINY);
    await writeFile(join(folder, 'config.json'), `{"length_penalty": NaN, ${JSON.stringify(TINY).slice(1)}`);
    await writeFile(join(folder, 'generation_config.json'), '{"eos_token_id": [3], "top_p": Infinity}');
    assert.equal((await openCheckpoint(folder)).config.eosTokens, [3]);
    await writeFile(join(folder, 'config.json'), JSON.stringify({ ...TINY, rms_norm_eps: 0 }).replace(':0}', ':NaN}'));
    await fails(() => openCheckpoint(folder), 'BAD_CONFIG', /rms_norm_eps/);
  }));

test('the hash of a checkpoint is of its content, however it is cut into files', () =>
  inFolder({}, async (folder) => {
    const hash = async (name: string, tensors: TensorSource[], maxShardBytes = 1e9) => {
      await writeModel(join(folder, name), TINY, tensors, { maxShardBytes });
      return hashCheckpoint(join(folder, name));
    };
    const whole = await hash('whole', PARAMETERS);
    assert.match(whole, /^[0-9a-f]{64}$/);
    assert.is(await hash('shards', PARAMETERS, 300), whole);
    assert.is(await hash('reversed', [...PARAMETERS].reverse(), 500), whole);

    const others = [
      await hash('value', instead(tensor(GATE, 'F32', [12, 8], 99))),
      await hash('shape', instead(tensor(GATE, 'F32', [8, 12], 18))),
      await hash('dtype', instead(tensor(GATE, 'I32', [12, 8], 18))),
      await hash('name', [...without(GATE), tensor(`${GATE}2`, 'F32', [12, 8], 18)]),
      await hash('fewer', without(GATE)),
    ];
    assert.is(new Set([whole, ...others]).size, 6);
  }));

test('a hash can be stopped, and says when the file changed under it', () =>
  inFolder({ file: new Uint8Array(1e6) }, async (folder) => {
    await writeModel(join(folder, 'hub'), TINY);
    const signal = AbortSignal.abort();
    await fails(() => hashFile(join(folder, 'file'), { signal }), 'ABORTED', /file' was stopped/);
    await fails(() => hashCheckpoint(join(folder, 'hub'), { signal }), 'ABORTED', /model.safetensors' was stopped/);
    await truncate(join(folder, 'hub', 'model.safetensors'), 3000);
    await fails(() => hashCheckpoint(join(folder, 'hub')), 'BAD_SAFETENSORS', /cut short/);
  }));

test('hashes a file', () =>
  inFolder({ empty: '', file: 'a'.repeat(1e6) }, async (folder) => {
    assert.is(await hashFile(join(folder, 'empty')), EMPTY_SHA256);
    // sha256 of a million a's: FIPS 180-2, appendix B.3
    const millionSha256 = 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0';
    assert.is(await hashFile(join(folder, 'file')), millionSha256);
    await fails(() => hashFile(join(folder, 'none')), 'FILE_NOT_FOUND', /none' does not exist/);
    await fails(() => hashFile(folder), 'FILE_IO', /not a regular file/);
  }));

/** Models that were stitched remember these: they must not change. */
const REMEMBERED: [json: Record<string, unknown>, hash: string][] = [
  [{}, '28d0f716faf63df2b956c7a9dfa21fbce3c8c40cce26935c302bc8e68ba1acf0'],
  [
    { model_type: 'mistral', sliding_window: 5, torch_dtype: 'bfloat16' },
    'b1ed03441f28b54b70cc6689e466b8201dc7effa4360d2d97e18f32129f00edc',
  ],
  [
    { model_type: 'qwen2', tie_word_embeddings: true, eos_token_id: [4, 2] },
    'a9eb0e40c6e12d4f2b3af35f7d183673d5de40e178879f564fa20c82f079b03f',
  ],
  [
    {
      model_type: 'qwen3',
      head_dim: 6,
      rope_theta: 5e5,
      rope_scaling: {
        rope_type: 'llama3',
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 16,
      },
    },
    'e9787f3af083003595cebd14707ab9da9e68adfd2e8d607939dc8f1128a07fea',
  ],
  [
    { attention_bias: true, mlp_bias: true, rope_scaling: { type: 'linear', factor: 2 } },
    'f18755a2147fc852de6e720efc63bb59d18a73720ef805e808bf49c2bf816502',
  ],
];
for (const [json, hash] of REMEMBERED) {
  test(`the hash of the configuration ${JSON.stringify(json)} is what it always was`, () =>
    inFolder({ 'config.json': JSON.stringify({ ...TINY, ...json }) }, async (folder) => {
      assert.is(hashConfig(await readConfig(folder)), hash);
    }));
}

test('opens every checkpoint of the shared material', async () => {
  if (!existsSync(shared('goldens'))) return console.log('shared/goldens: skipped');
  const folders = (await readdir(shared(''), { recursive: true }))
    .filter((path) => /^(goldens\/[^/]+\/(hub|expert-\d+)|data\/models\/[^/]+)\/config\.json$/.test(path))
    .map((path) => shared(dirname(path)));
  assert.ok(folders.length >= 15, `${folders.length} checkpoints`);
  const hashes = new Set<string>();
  for (const folder of folders) {
    const { config, tensors } = await openCheckpoint(folder);
    assert.is(tensors.size, parameterNames(config).length, folder);
    hashes.add(await hashCheckpoint(folder));
  }
  assert.is(hashes.size, folders.length, 'hub and experts differ');
});

test.run();
