import { createHash } from 'node:crypto';
import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { ErrorCode } from '../../lib/base/errors.js';
import { readSafetensors } from '../../lib/checkpoint/safetensors.js';
import { type TensorSource, writeSafetensors } from '../../lib/checkpoint/safetensors-writer.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { fails } from '../data/data-fixtures.js';
import { liveBytes, runOutOfMemory } from '../support/models.js';
import { stitchedModels } from '../support/stitched-models.js';

const stitched = suite('folder of a stitched model');
const { device, root, hub, experts, ids, newFolder, createRandom, save } = stitchedModels(stitched);

stitched('a stitched model is found wherever it is moved together with its members', async () => {
  const home = newFolder();
  await mkdir(home);
  for (const [name, folder] of Object.entries({ hub, ...experts }))
    await cp(folder, join(home, name), { recursive: true });
  const options = { hub: join(home, 'hub'), experts: { code: join(home, 'code'), math: join(home, 'math') } };
  let logits: Float32Array;
  {
    using model = await createRandom(options);
    logits = await model.logits(ids);
    await save(model, join(home, 'models', 'generalist'));
  }
  const moved = newFolder();
  await rename(home, moved);
  using model = await StitchedModel.load(device, join(moved, 'models', 'generalist'));
  assert.equal(await model.logits(ids), logits);
  assert.equal(
    model.manifest.members.map(({ path }) => path),
    ['hub', 'code', 'math'].map((name) => join(moved, name)),
  );
});

stitched('folders given relative to the working directory are saved as the same folders', async () => {
  const there = process.cwd();
  const folder = newFolder();
  try {
    process.chdir(root);
    using model = await StitchedModel.create(device, { hub: 'hub', experts: { code: './code' } });
    process.chdir(there);
    await save(model, folder);
  } finally {
    process.chdir(there);
  }
  using model = await StitchedModel.load(device, folder);
  assert.equal(
    model.manifest.members.map(({ path }) => path),
    [hub, experts.code],
  );
});

const saved = join(root, 'saved');
stitched.before(async () => {
  const members = { hub: join(saved, 'hub'), code: join(saved, 'code') };
  await cp(hub, members.hub, { recursive: true });
  await cp(experts.code, members.code, { recursive: true });
  using model = await createRandom({ hub: members.hub, experts: { code: members.code } });
  await save(model, join(saved, 'stitched'));
});

/** A copy of a saved model with its two members, `hub` and `code` beside `stitched`; `change` then changes the copy. */
async function savedWith(change: (home: string) => Promise<unknown>): Promise<string> {
  const home = newFolder();
  await cp(saved, home, { recursive: true });
  await change(home);
  return join(home, 'stitched');
}

const flip = (name: string, at: number) => async (home: string) => {
  const bytes = await readFile(join(home, name));
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  await writeFile(join(home, name), bytes);
};
const changes: [name: string, change: (home: string) => Promise<unknown>, code: ErrorCode, message: RegExp][] = [
  [
    "the last bit of the hub's weights",
    flip('hub/model.safetensors', -1),
    'MEMBER_CHANGED',
    /the weights of member 'hub'/,
  ],
  [
    "a bit of an expert's weights",
    flip('code/model.safetensors', -5000),
    'MEMBER_CHANGED',
    /the weights of member 'code'/,
  ],
  [
    "an expert's RoPE",
    async (home) => {
      const path = join(home, 'code', 'config.json');
      const config = JSON.parse(await readFile(path, 'utf8'));
      config.rope_theta = config.rope_parameters.rope_theta = 20_000;
      await writeFile(path, JSON.stringify(config));
    },
    'MEMBER_CHANGED',
    /the configuration of member 'code'/,
  ],
  ["an expert's tokenizer", flip('code/tokenizer.json', -3), 'MEMBER_CHANGED', /the tokenizer of member 'code'/],
  [
    "the hub's tokenizer",
    (home) => rm(join(home, 'hub', 'tokenizer.json')),
    'MEMBER_CHANGED',
    /tokenizer of member 'hub'/,
  ],
  ['the place of an expert', (home) => rename(join(home, 'code'), join(home, 'coder')), 'FILE_NOT_FOUND', /code/],
  [
    'the place of the stitches',
    (home) => rm(join(home, 'stitched/stitch.safetensors')),
    'FILE_NOT_FOUND',
    /stitch\.safe/,
  ],
  ['the place of bts.json', (home) => rm(join(home, 'stitched/bts.json')), 'FILE_NOT_FOUND', /bts\.json/],
  ['the header of the stitches', flip('stitched/stitch.safetensors', 6), 'BAD_SAFETENSORS', /./],
];
for (const [name, change, code, message] of changes) {
  stitched(`a stitched model is refused once ${name} changed`, async () => {
    const folder = await savedWith(change);
    await fails(() => StitchedModel.load(device, folder), code, message);
    assert.is(await liveBytes(device), 0);
  });
}

stitched('a member whose tokenizer is written otherwise is the same member', async () => {
  const folder = await savedWith(async (home) => {
    const path = join(home, 'code', 'tokenizer.json');
    await writeFile(path, JSON.stringify(JSON.parse(await readFile(path, 'utf8')), null, 2));
  });
  using model = await StitchedModel.load(device, folder);
  assert.is(model.manifest.members.length, 2);
});

stitched('a model whose bts.json knows the bytes of tokenizer.json, as they once did, loads', async () => {
  const change = (hash: (bytes: Buffer) => string) =>
    savedWith(async (home) => {
      const path = join(home, 'stitched', 'bts.json');
      const manifest = JSON.parse(await readFile(path, 'utf8'));
      for (const member of manifest.members) {
        member.tokenizer = hash(await readFile(join(home, 'stitched', member.path, 'tokenizer.json')));
      }
      await writeFile(path, JSON.stringify(manifest));
    });
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  using model = await StitchedModel.load(device, await change(sha256));
  assert.is(model.manifest.members.length, 2);
  const other = await change((bytes) => sha256(bytes.subarray(1)));
  await fails(() => StitchedModel.load(device, other), 'MEMBER_CHANGED', /the tokenizer of member 'hub'/);
});

stitched('a member cut into other shards, with other metadata, is the same member', async () => {
  const folder = await savedWith(async (home) => {
    const path = join(home, 'code', 'model.safetensors');
    const { tensors } = await readSafetensors(path);
    const bytes = await readFile(path);
    await rm(path);
    await writeSafetensors(
      path,
      [...tensors.values()].map(({ offset, bytes: length, ...tensor }) => ({
        ...tensor,
        data: async () => bytes.subarray(offset, offset + length),
      })),
      { format: 'pt', author: 'somebody else' },
    );
  });
  using model = await StitchedModel.load(device, folder);
  assert.equal(model.memberNames, ['hub', 'code']);
});

// biome-ignore lint/suspicious/noExplicitAny: the point is to break what the type says
type Json = any;
const malformed: [name: string, change: (json: Json) => unknown, message: RegExp][] = [
  ['another version', (j) => (j.formatVersion = 2), /formatVersion/],
  ['no version', (j) => delete j.formatVersion, /formatVersion/],
  ['an unknown key', (j) => (j.extra = 1), /extra/],
  ['an unknown key in a member', (j) => (j.members[1].extra = 1), /members\.1.*extra/],
  ['no members', (j) => delete j.members, /members/],
  ['the hub alone', (j) => j.members.pop(), /members/],
  ['two members of one name', (j) => (j.members[1].name = 'hub'), /one name among hub, hub/],
  ['a name that is a path', (j) => (j.members[1].name = '../code'), /members\.1\.name/],
  ['a path that is a number', (j) => (j.members[1].path = 7), /members\.1\.path/],
  ['an empty path', (j) => (j.members[1].path = ''), /members\.1\.path/],
  ['a hash that is none', (j) => (j.members[0].weights = 'abc'), /members\.0\.weights/],
  ['no hash of the weights', (j) => (j.members[0].weights = null), /members\.0\.weights/],
  ['a hash that is a number', (j) => (j.members[0].tokenizer = 1), /members\.0\.tokenizer/],
  ['no plan', (j) => delete j.plan, /plan/],
  ['an empty plan', (j) => (j.plan = []), /plan/],
  ['a stitch behind layer 0', (j) => (j.plan[0].afterLayer = 0), /plan\.0\.afterLayer/],
  ['a stitch between layers', (j) => (j.plan[0].afterLayer = 1.5), /plan\.0\.afterLayer/],
  ['a stitch beyond the layers', (j) => (j.plan[2].afterLayer = 4), /from 1 to 3, not after 1, 2, 4/],
  ['stitches out of order', (j) => j.plan.reverse(), /not after 3, 2, 1/],
  ['a stitch of unknown kind', (j) => (j.plan[0].kind = 'x'), /plan\.0\.kind/],
  ['a last stitch into the experts', (j) => (j.plan[2].kind = 'hub_into_experts'), /last stitch/],
  ['a rank of 0', (j) => (j.rank = 0), /rank/],
  ['a rank between numbers', (j) => (j.rank = 1.5), /rank/],
  ['a rank that is none', (j) => (j.rank = 16), /a rank of 16 is none below the members' 16 channels/],
  [
    'a rank that its tensors have not',
    (j) => (j.rank = 4),
    /stitch\.0\.gate\.down\.weight must be F32 \[2,4,16\], there is nothing/,
  ],
  ['an unknown gate', (j) => (j.gate = 'vector'), /gate/],
  ['a gate bias that is no boolean', (j) => (j.gateBias = 'no'), /gateBias/],
  ['an unknown sequel', (j) => (j.expertsAfterMerge = 'gone'), /expertsAfterMerge/],
  ['dropout of everything', (j) => (j.dropout = 1), /dropout/],
  [
    'a gate bias that has no tensor',
    (j) => (j.gateBias = true),
    /stitch\.0\.gate\.bias must be F32 \[2,16\], there is nothing/,
  ],
  [
    'another gate than its tensors',
    (j) => (j.gate = 'scalar'),
    /stitch\.0\.gate\.weight must be F32 \[2,1,16\], there is F32 \[2,16,16\]/,
  ],
  ['fewer stitches than tensors', (j) => j.plan.shift(), /does not account for: stitch\.2\./],
];
for (const [name, change, message] of malformed) {
  stitched(`a bts.json with ${name} is refused`, async () => {
    const folder = await savedWith(async (home) => {
      const path = join(home, 'stitched', 'bts.json');
      const json = JSON.parse(await readFile(path, 'utf8'));
      change(json);
      await writeFile(path, JSON.stringify(json));
    });
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', message);
    assert.is(await liveBytes(device), 0);
  });
}

for (const [name, text] of [
  ['nothing', ''],
  ['half of it', '{"formatVersion": 1, "mem'],
  ['a list', '[]'],
  ['null', 'null'],
] as const) {
  stitched(`a bts.json that holds ${name} is refused`, async () => {
    const folder = await savedWith((home) => writeFile(join(home, 'stitched', 'bts.json'), text));
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', /bts\.json/);
  });
}

type Tensors = Map<string, TensorSource>;
const float = (name: string, shape: number[], dtype: 'F32' | 'BF16' = 'F32'): TensorSource => {
  const bytes = shape.reduce((product, size) => product * size, dtype === 'F32' ? 4 : 2);
  return { name, shape, dtype, data: async () => new Uint8Array(bytes) };
};
const tensorFaults: [name: string, change: (tensors: Tensors) => unknown, message: RegExp][] = [
  [
    'a missing gate',
    (t) => t.delete('stitch.1.gate.weight'),
    /stitch\.1\.gate\.weight must be F32 \[2,16,16\], there is nothing/,
  ],
  ['a missing projection', (t) => t.delete('stitch.2.proj.0.weight'), /stitch\.2\.proj\.0\.weight.*there is nothing/],
  [
    'a tensor too many',
    (t) => t.set('x', float('stitch.3.gate.weight', [2, 16, 16])),
    /account for: stitch\.3\.gate\.weight/,
  ],
  ['an unknown tensor', (t) => t.set('x', float('optimizer', [1])), /account for: optimizer/],
  [
    'a projection of another shape',
    (t) => t.set('stitch.0.proj.0.weight', float('stitch.0.proj.0.weight', [16, 8])),
    /F32 \[16,16\], there is F32 \[16,8\]/,
  ],
  [
    'a flat projection',
    (t) => t.set('stitch.0.proj.0.weight', float('stitch.0.proj.0.weight', [256])),
    /there is F32 \[256\]/,
  ],
  [
    'a gate in half precision',
    (t) => t.set('stitch.0.gate.weight', float('stitch.0.gate.weight', [2, 16, 16], 'BF16')),
    /there is BF16/,
  ],
  ['no tensors', (t) => t.clear(), /stitch\.0\.gate\.weight.*there is nothing/],
];
for (const [name, change, message] of tensorFaults) {
  stitched(`stitches with ${name} are refused and leave no memory behind`, async () => {
    const folder = await savedWith(async (home) => {
      const path = join(home, 'stitched', 'stitch.safetensors');
      const { tensors } = await readSafetensors(path);
      const bytes = await readFile(path);
      const sources: Tensors = new Map();
      for (const { name, dtype, shape, offset, bytes: length } of tensors.values()) {
        sources.set(name, { name, dtype, shape, data: async () => bytes.subarray(offset, offset + length) });
      }
      change(sources);
      await rm(path);
      await writeSafetensors(path, sources.values());
    });
    await fails(() => StitchedModel.load(device, folder), 'BAD_STITCH', message);
    assert.is(await liveBytes(device), 0);
  });
}

stitched('wherever memory runs out, loading and computing leave none behind', async () => {
  const folder = join(saved, 'stitched');
  assert.ok((await runOutOfMemory(device, () => StitchedModel.load(device, folder))) > 60);
  using model = await StitchedModel.load(device, folder);
  // Rotary tables are kept for good; here they are made beforehand.
  const logits = await model.logits(ids, 2);
  assert.ok((await runOutOfMemory(device, () => model.logits(ids, 2))) > 30);
  assert.ok((await runOutOfMemory(device, () => model.trace(ids, 2, { hidden: true }))) > 30);
  assert.equal(await model.logits(ids, 2), logits);
});

stitched('nothing is left in device memory', async () => {
  assert.is(await liveBytes(device), 0);
});

stitched.run();
