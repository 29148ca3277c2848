import { copyFile, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Preflight, preflight, refusal } from '../../lib/model/members/preflight.js';
import { openCpu } from '../support/devices.js';
import { type FlatConfig, varied } from '../support/flat-config.js';
import { CONFIGS, inTemporaryFolder, type TinyModel, writeModel } from '../support/models.js';

const HUB = CONFIGS.llama;

/** Runs `use` in a folder with a hub and the given experts beside it. */
async function withModels(experts: Record<string, TinyModel>, use: (folder: string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    for (const [name, options] of Object.entries({ hub: {}, ...experts })) {
      await writeModel(device, join(folder, name), options);
    }
    await use(folder);
  });
}

function check(folder: string, ...experts: string[]): Promise<Preflight> {
  return preflight(join(folder, 'hub'), Object.fromEntries(experts.map((name) => [name, join(folder, name)])));
}

const codes = ({ findings }: Preflight, level: string) =>
  findings.filter((finding) => finding.level === level).map(({ member, code }) => `${member} ${code}`);

test('models that fit give no findings', async () => {
  await withModels({ a: { seed: 2 }, b: { seed: 3 } }, async (folder) => {
    const result = await check(folder, 'a', 'b');
    assert.equal(result.findings, []);
    assert.equal(
      result.members.map(({ name, parameters }) => [name, parameters]),
      [
        ['hub', 14_096],
        ['a', 14_096],
        ['b', 14_096],
      ],
    );
    assert.is(refusal(result), undefined);
  });
});

test('all differences of all experts are reported at once', async () => {
  const a = varied(HUB, { layers: 2, feedForwardWidth: 32, rope: { kind: 'default', theta: 500000 } });
  const b = varied(HUB, { width: 32, headWidth: 8, maxPositions: 32, normEpsilon: 1e-6 });
  await withModels({ a: { config: a }, b: { config: b } }, async (folder) => {
    const result = await check(folder, 'a', 'b');
    assert.equal(codes(result, 'error').sort(), [
      'a DIFFERENT_FEED_FORWARD_WIDTH',
      'a DIFFERENT_LAYERS',
      'b DIFFERENT_HEAD_WIDTH',
      'b DIFFERENT_NORM_EPSILON',
      'b DIFFERENT_WIDTH',
    ]);
    assert.equal(codes(result, 'warning').sort(), ['a DIFFERENT_ROPE', 'b DIFFERENT_MAX_POSITIONS']);
    const refused = refusal(result);
    assert.is(refused?.code, 'MEMBERS_DIFFER');
    for (const word of ['layers: 2 in a, 3 in the hub', 'width: 32 in b, 16 in the hub', 'epsilon of the norms']) {
      assert.match(refused!.message, word);
    }
  });
});

/** Changes of the hub's configuration, and what is to be said of them. */
const CHANGES: [Partial<FlatConfig>, level: 'error' | 'warning', code: string][] = [
  [{ vocabularySize: 258 }, 'error', 'DIFFERENT_VOCABULARY_SIZE'],
  [{ keyValueHeads: 1 }, 'error', 'DIFFERENT_KEY_VALUE_HEADS'],
  [{ feedForwardBias: true }, 'error', 'DIFFERENT_FEED_FORWARD_BIAS'],
  [{ tiedEmbeddings: true }, 'warning', 'DIFFERENT_TIED_EMBEDDINGS'],
  [{ eosTokens: [256, 7] }, 'warning', 'DIFFERENT_EOS_TOKENS'],
  [{ rope: { kind: 'linear', theta: 10000, factor: 2 } }, 'warning', 'DIFFERENT_ROPE'],
];

for (const [change, level, code] of CHANGES) {
  test(`${Object.keys(change)} that differs is ${level} ${code}`, async () => {
    await withModels({ a: { seed: 2, config: varied(HUB, change) } }, async (folder) => {
      const result = await check(folder, 'a');
      assert.equal(codes(result, level), [`a ${code}`]);
      assert.is(result.findings.length, 1);
    });
  });
}

test('the heads are told with the key/value heads that they share', async () => {
  const config = varied(HUB, { heads: 8, headWidth: 2 });
  await withModels({ a: { config } }, async (folder) => {
    const { findings } = await check(folder, 'a');
    const { message } = findings.find(({ code }) => code === 'DIFFERENT_HEADS')!;
    assert.is(message, 'attention heads: 8 over 2 key/value heads in a, 4 over 2 key/value heads in the hub.');
  });
});

test('precisions are those of the weights, and differing ones a warning', async () => {
  await withModels({ a: { seed: 2, dtype: 'bf16' } }, async (folder) => {
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'warning'), ['a DIFFERENT_DTYPE']);
    assert.equal(
      result.members.map(({ config }) => config?.dtype),
      ['F32', 'BF16'],
    );
  });
});

test('another tokenizer is an error that shows a token', async () => {
  await withModels({ a: { seed: 2, endOfText: '<|stop|>' } }, async (folder) => {
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'error'), ['a DIFFERENT_TOKENIZER']);
    assert.match(
      result.findings[0]!.message,
      '1 of 257 tokens differ, such as 256, which is "<|stop|>" in a, "<|end|>"',
    );
  });
});

test('a tokenizer that is written otherwise is the same', async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    const path = join(folder, 'a', 'tokenizer.json');
    await writeFile(path, JSON.stringify(JSON.parse(await readFile(path, 'utf8')), null, 2));
    assert.equal(codes(await check(folder, 'a'), 'error'), []);
  });
});

test('the same tokens by other rules are an error that says so', async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    const settings = {
      tokenizer_class: 'LlamaTokenizerFast',
      bos_token: null,
      eos_token: '<|end|>',
      add_eos_token: true,
    };
    await writeFile(join(folder, 'a', 'tokenizer_config.json'), JSON.stringify({ ...settings, add_bos_token: false }));
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'error'), ['a DIFFERENT_TOKENIZER']);
    assert.match(
      result.findings[0]!.message,
      "a has the hub's tokens, but its tokenizer.json or tokenizer_config.json",
    );
  });
});

test('special tokens with other roles are a warning', async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    const settings = { tokenizer_class: 'PreTrainedTokenizerFast', bos_token: '<|end|>', eos_token: '<|end|>' };
    await writeFile(join(folder, 'a', 'tokenizer_config.json'), JSON.stringify(settings));
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'warning'), ['a DIFFERENT_SPECIAL_TOKENS']);
    assert.match(result.findings[0]!.message, 'begins a text: 256 in a, none in the hub');
  });
});

test("an expert's missing tokenizer is a warning, the hub's an error", async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    await rm(join(folder, 'a', 'tokenizer.json'));
    assert.equal(codes(await check(folder, 'a'), 'warning'), ['a NO_TOKENIZER']);
    await rename(join(folder, 'hub', 'tokenizer.json'), join(folder, 'kept'));
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'error'), ['hub NO_TOKENIZER']);
    assert.is(refusal(result)?.code, 'MEMBERS_DIFFER');
  });
});

test('a tokenizer that is larger than its model is an error, added tokens without a row are a warning', async () => {
  const config = { ...HUB, vocabularySize: 300 };
  await withModels({ a: { seed: 2, config } }, async (folder) => {
    const small = join(folder, 'hub', 'tokenizer.json');
    const tokenizer = JSON.parse(await readFile(small, 'utf8'));
    const withAdded = JSON.stringify({ ...tokenizer, added_tokens: added(44) });
    await writeFile(small, withAdded);
    await writeFile(join(folder, 'a', 'tokenizer.json'), withAdded);
    const tolerated = await check(folder, 'a');
    assert.not.ok(codes(tolerated, 'error').some((code) => code.endsWith('BAD_TOKENIZER')));
    assert.ok(codes(tolerated, 'warning').includes('hub TOKENS_BEYOND_EMBEDDING'));
    assert.not.ok(codes(tolerated, 'warning').includes('a TOKENS_BEYOND_EMBEDDING'));

    const vocab = { ...tokenizer.model.vocab };
    for (const { id, content } of added(44)) vocab[content] = id;
    const model = { ...tokenizer.model, vocab };
    const larger = JSON.stringify({ ...tokenizer, added_tokens: added(44), model });
    await writeFile(small, larger);
    await writeFile(join(folder, 'a', 'tokenizer.json'), larger);
    const result = await check(folder, 'a');
    assert.ok(codes(result, 'error').includes('hub BAD_TOKENIZER'));
    assert.not.ok(codes(result, 'error').includes('a BAD_TOKENIZER'));
  });
});

test('unreadable members are errors beside all others', async () => {
  await withModels({ a: { seed: 2 }, b: { config: { ...HUB, layers: 2 } } }, async (folder) => {
    await writeFile(join(folder, 'a', 'model.safetensors'), 'nonsense');
    await writeFile(join(folder, 'b', 'tokenizer.json'), '{');
    const result = await check(folder, 'a', 'b', 'missing');
    assert.equal(codes(result, 'error'), [
      'a BAD_SAFETENSORS',
      'b BAD_TOKENIZER',
      'missing FILE_NOT_FOUND',
      'b DIFFERENT_LAYERS',
    ]);
    assert.equal(
      result.members.map(({ parameters }) => parameters === null),
      [false, true, false, true],
    );
    assert.is(refusal(result)?.code, 'BAD_SAFETENSORS');
  });
});

test('a hub that cannot be read is the only thing to say of it', async () => {
  await withModels({ a: {} }, async (folder) => {
    await rm(join(folder, 'hub', 'config.json'));
    const result = await check(folder, 'a');
    assert.equal(codes(result, 'error'), ['hub FILE_NOT_FOUND']);
  });
});

test('members that are equal are warned of, by folder and by content', async () => {
  await withModels({ a: { seed: 2 }, b: { seed: 2 } }, async (folder) => {
    await symlink('a', join(folder, 'again'));
    assert.equal(codes(await check(folder, 'a', 'b', 'again'), 'warning'), [
      'again DUPLICATE_FOLDER',
      'b DUPLICATE_WEIGHTS',
    ]);
  });
});

test('contents are not read where that is not wanted', async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    await copyFile(join(folder, 'hub', 'model.safetensors'), join(folder, 'a', 'model.safetensors'));
    const { findings } = await preflight(join(folder, 'hub'), { a: join(folder, 'a') }, { contents: false });
    assert.equal(findings, []);
  });
});

test('reading contents can be interrupted', async () => {
  await withModels({ a: { seed: 2 } }, async (folder) => {
    const signal = AbortSignal.abort();
    try {
      await preflight(join(folder, 'hub'), { a: join(folder, 'a') }, { signal });
      assert.unreachable();
    } catch (error) {
      assert.is((error as { code?: string }).code, 'ABORTED');
    }
  });
});

/** The end-of-text token and `count - 1` more. */
function added(count: number): { id: number; content: string }[] {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return Array.from({ length: count }, (_, i) => ({
    id: 256 + i,
    content: i === 0 ? '<|end|>' : `<|${i}|>`,
    ...flags,
  }));
}

test.run();
