import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findDefinition } from '../../lib/data/tokenizer/definition.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { fails } from './data-fixtures.js';
import {
  byteLevel,
  bytePretokenizer,
  llamaNormalizer,
  metaspace,
  type Parts,
  sentencePiece,
  sequence,
  writeTokenizer,
} from './tokenizer-fixtures.js';

// What is expected of the settings was printed by transformers 4.57.6.

const test = suite('tokenizer settings');
let folder: string;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokenizer-settings-'));
});
test.after(() => rm(folder, { recursive: true }));

const load = async (json: unknown, files: Record<string, unknown> = {}) =>
  Tokenizer.load(await writeTokenizer(folder, json, files));

async function expectTokens(json: unknown, files: Record<string, unknown>, text: string, tokens: string) {
  const tokenizer = await load(json, files);
  const ids = tokenizer.encode(text);
  assert.is(ids.map((id) => tokenizer.idToToken(id)).join(' '), tokens, JSON.stringify(files));
}

test('a class of a name that every object has is none', async () => {
  for (const name of ['constructor', 'toString', '__proto__']) {
    await expectTokens(byteLevel(), { config: { model_type: name } }, 'ab', 'ab');
    await expectTokens(byteLevel(), { tokenizer_config: { tokenizer_class: name, add_bos_token: true } }, 'ab', 'ab');
  }
});

const added = ['<s>', '</s>'].map((content) => ({ content, special: true }));
const special = (content: string) => ({ SpecialToken: { id: content, type_id: 0 } });
const text = { Sequence: { id: 'A', type_id: 0 } };
const withBos: Parts = {
  added,
  post_processor: {
    type: 'TemplateProcessing',
    single: [special('<s>'), text],
    pair: [],
    special_tokens: { '<s>': { id: '<s>', ids: [byteLevel({ added }).added_tokens[0]!.id], tokens: ['<s>'] } },
  },
};
const withoutBos: Parts = { added, post_processor: { type: 'ByteLevel' } };
const names = { bos_token: '<s>', eos_token: '</s>' };

// ---- add_bos_token and add_eos_token ----

const frames: [classes: string[], flags: Record<string, unknown>, expected: string | null][] = [
  [['LlamaTokenizerFast', 'LlamaTokenizer', 'CodeLlamaTokenizer', 'GemmaTokenizerFast'], {}, null],
  [['LlamaTokenizerFast', 'LlamaTokenizer', 'CohereTokenizerFast'], { add_bos_token: true }, '<s> a b'],
  [['LlamaTokenizerFast', 'GemmaTokenizer', 'GPTNeoXTokenizerFast'], { add_bos_token: false }, 'a b'],
  [['LlamaTokenizer', 'CohereTokenizer', 'CodeLlamaTokenizerFast'], { add_bos_token: null }, 'a b'],
  [['LlamaTokenizerFast', 'GemmaTokenizer'], { add_eos_token: true }, '<s> a b </s>'],
  [['LlamaTokenizer'], { add_bos_token: false, add_eos_token: true }, 'a b </s>'],
  [['LlamaTokenizer'], { add_bos_token: true, add_eos_token: false }, '<s> a b'],
  [['GPTNeoXTokenizer'], { add_bos_token: true }, '<s> a b'],
  [['GPTNeoXTokenizer'], { add_eos_token: true }, 'a b </s>'],
  [['PreTrainedTokenizerFast', 'GPT2Tokenizer', 'Qwen2TokenizerFast'], { add_bos_token: true }, null],
  [['PreTrainedTokenizerFast', 'GPT2TokenizerFast', 'Qwen2Tokenizer'], { add_bos_token: false }, null],
  [['PreTrainedTokenizerFast', 'GPT2Tokenizer', 'Qwen2Tokenizer'], { add_eos_token: true }, null],
];
for (const [classes, flags, expected] of frames) {
  const outcome = expected === null ? "leave tokenizer.json's template" : `give ${expected.replace('a b', 'TEXT')}`;
  test(`${JSON.stringify(flags)} of ${classes.join(', ')} ${outcome}`, async () => {
    for (const tokenizer_class of classes) {
      const tokenizer_config = { tokenizer_class, ...names, ...flags };
      await expectTokens(
        byteLevel(withBos),
        { tokenizer_config },
        'a b',
        (expected ?? '<s> a b').replace(' b', ' Ġ b'),
      );
      await expectTokens(byteLevel(withoutBos), { tokenizer_config }, 'a b', (expected ?? 'a b').replace(' b', ' Ġ b'));
    }
  });
}

test('where no class is named, the model decides which it is', async () => {
  const tokenizer_config = { ...names, add_bos_token: true };
  const of = (config: object, tokens: string) =>
    expectTokens(byteLevel(withoutBos), { tokenizer_config, config }, 'a', tokens);
  await of({ model_type: 'llama' }, '<s> a');
  await of({ model_type: 'mistral' }, '<s> a');
  await of({ model_type: 'qwen2' }, 'a');
  await of({ model_type: 'llama', tokenizer_class: 'PreTrainedTokenizerFast' }, 'a');
  await of({ model_type: 'qwen2', tokenizer_class: 'LlamaTokenizerFast' }, '<s> a');
  await expectTokens(byteLevel(withoutBos), { tokenizer_config }, 'a', 'a');
});

test('the template is built of the tokens that the settings name', async () => {
  const tokenizer_config = { tokenizer_class: 'LlamaTokenizer', bos_token: '</s>', eos_token: '<s>' };
  const flags = { add_bos_token: true, add_eos_token: true };
  await expectTokens(byteLevel(withBos), { tokenizer_config: { ...tokenizer_config, ...flags } }, 'a', '</s> a <s>');
  await expectTokens(byteLevel(withBos), { tokenizer_config }, 'a', '<s> a');
});

test('a beginning that is asked for without a token for it is refused', async () => {
  const refuse = async (settings: object, message: RegExp) => {
    const tokenizer_config = { tokenizer_class: 'LlamaTokenizer', bos_token: null, eos_token: null, ...settings };
    await fails(() => load(byteLevel(withBos), { tokenizer_config }), 'BAD_TOKENIZER', message);
  };
  await refuse({ add_bos_token: true }, /asks for add_bos_token, but there is no bos_token/);
  await refuse({ add_bos_token: false, add_eos_token: true }, /asks for add_eos_token, but there is no eos_token/);
  await refuse({ add_bos_token: 'yes' }, /tokenizer_config\.json#\/add_bos_token: .*boolean/);
});

test('special_tokens_map.json names the tokens where added_tokens_decoder is not listed', async () => {
  const tokenizer_config = { tokenizer_class: 'LlamaTokenizer', ...names, add_bos_token: true };
  const special_tokens_map = { bos_token: { content: '</s>', lstrip: false } };
  await expectTokens(byteLevel(withBos), { tokenizer_config, special_tokens_map }, 'a', '</s> a');
  const listed = { ...tokenizer_config, added_tokens_decoder: {} };
  await expectTokens(byteLevel(withBos), { tokenizer_config: listed, special_tokens_map }, 'a', '<s> a');
});

// ---- Tokens that the settings add ----

const fast = { tokenizer_class: 'PreTrainedTokenizerFast' };
const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };

test('added_tokens_decoder changes how tokens are found, and adds those that are missing', async () => {
  const json = byteLevel({ added });
  const of = (added_tokens_decoder: object, text: string, tokens: string) =>
    expectTokens(json, { tokenizer_config: { ...fast, added_tokens_decoder } }, text, tokens);
  await of({}, 'a <s>b<x>', 'a Ġ <s> b < x >');
  await of({ 5: { ...flags, content: '<s>', lstrip: true } }, 'a <s>b', 'a <s> b');
  await of({ 9999: { content: '<x>' }, 7: { content: '<y>' } }, 'a<x><y>', 'a <x> <y>');
  const tokenizer_config = { ...fast, added_tokens_decoder: { 9999: { content: '<x>' }, 7: { content: '<y>' } } };
  const tokenizer = await load(json, { tokenizer_config });
  const last = json.added_tokens.at(-1)!.id;
  assert.equal(tokenizer.encode('<y><x>'), [last + 1, last + 2]);
  assert.is(tokenizer.vocabularySize, last + 3);
  assert.is(tokenizer.decode([last + 1], { skipSpecials: true }), '<y>');
});

test('special tokens that have a name are found in text, be they new or plain tokens of the vocabulary', async () => {
  const of = (settings: object, text: string, tokens: string) =>
    expectTokens(byteLevel(), { tokenizer_config: { ...fast, ...settings } }, text, tokens);
  await of({}, 'cab<p>', 'c ab < p >');
  await of({ pad_token: '<p>' }, 'a<p>b', 'a <p> b');
  await of({ additional_special_tokens: ['<p>', { content: '<q>', lstrip: true }] }, 'a<p> <q>b', 'a <p> <q> b');
  await of({ extra_special_tokens: { image_token: '<p>' } }, 'a<p>b', 'a <p> b');
  await of({ bos_token: 'bc' }, 'abc bc', 'a bc Ġ bc');
  const tokenizer = await load(byteLevel(), { tokenizer_config: { ...fast, eos_token: 'bc' } });
  assert.is(tokenizer.decode(tokenizer.encode('abc'), { skipSpecials: true }), 'a');
});

test('split_special_tokens leaves what looks like a special token as text', async () => {
  const json = byteLevel({ added: [...added, { content: '<s' }, { content: '<t>' }] });
  const of = (split_special_tokens: unknown, tokens: string) =>
    expectTokens(json, { tokenizer_config: { ...fast, split_special_tokens } }, 'a<s><sb<t>', tokens);
  await of(false, 'a <s> <s b <t>');
  await of(null, 'a <s> <s b <t>');
  await of(true, 'a < s > <s b <t>');
});

// ---- add_prefix_space and legacy ----

test('add_prefix_space replaces that of a ByteLevel which is not within a Sequence', async () => {
  const file = (add_prefix_space: boolean, inSequence = false) => {
    const step = bytePretokenizer({ add_prefix_space });
    return byteLevel({ pre_tokenizer: inSequence ? sequence(step) : step });
  };
  const of = (json: object, settings: object, tokens: string) =>
    expectTokens(json, { tokenizer_config: settings }, 'the', tokens);
  for (const tokenizer_class of ['GPT2Tokenizer', 'PreTrainedTokenizerFast', 'Qwen2TokenizerFast']) {
    await of(file(false), { tokenizer_class, add_prefix_space: true }, 'Ġthe');
    await of(file(true), { tokenizer_class, add_prefix_space: false }, 'the');
    await of(file(true), { tokenizer_class, add_prefix_space: true }, 'Ġthe');
    await of(file(true, true), { tokenizer_class, add_prefix_space: false }, 'Ġthe');
    await of(file(false, true), { tokenizer_class, add_prefix_space: true }, 'the');
  }
  await of(file(true), { tokenizer_class: 'GPT2Tokenizer' }, 'the');
  await of(file(true), { tokenizer_class: 'PreTrainedTokenizerFast' }, 'Ġthe');
  await of(file(true), { tokenizer_class: 'LlamaTokenizer' }, 'Ġthe');
});

test('LlamaTokenizer makes its marks anew where add_prefix_space is said', async () => {
  const files = {
    prepended: sentencePiece({ added, normalizer: llamaNormalizer }),
    marked: sentencePiece({ added, pre_tokenizer: metaspace('first', false) }),
    unmarked: sentencePiece({ added, pre_tokenizer: metaspace('never', false) }),
  };
  const of = (json: object, settings: object, tokens: string) => {
    const tokenizer_config = { tokenizer_class: 'LlamaTokenizerFast', ...settings };
    return expectTokens(json, { tokenizer_config }, 'ab ab<s>ab', tokens);
  };
  const [sections, start, none] = ['▁ab ▁ab <s> ▁ab', '▁ab ▁ab <s> ab', 'ab ▁ab <s> ab'] as const;
  for (const json of Object.values(files)) {
    await of(json, { add_prefix_space: true, legacy: true }, sections);
    await of(json, { add_prefix_space: true, legacy: false }, start);
    for (const legacy of [true, false, null]) await of(json, { add_prefix_space: false, legacy }, none);
  }
  // The file has what is asked for.
  await of(files.prepended, { add_prefix_space: true }, sections);
  await of(files.marked, { add_prefix_space: true }, start);
  await of(files.unmarked, { add_prefix_space: true }, sections);
  // And where it is not said, `legacy` changes nothing.
  await of(files.prepended, { add_prefix_space: null, legacy: false }, sections);
  await of(files.marked, { legacy: true }, start);

  const tokenizer = await load(files.prepended, {
    tokenizer_config: { tokenizer_class: 'LlamaTokenizer', add_prefix_space: false },
  });
  assert.is(tokenizer.decode(tokenizer.encode(' ab')), ' ab');
});

// ---- Identity ----

const base = byteLevel({ added, pre_tokenizer: bytePretokenizer(), post_processor: { type: 'ByteLevel' } });
const reversed = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, reversed(inner)]),
  );
};
const escaped = JSON.stringify(base).replace(/[^\0-~]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
const model = base.model as { merges: string[][]; vocab: Record<string, number> };

const same: [what: string, json: unknown, settings?: object][] = [
  ['indentation', JSON.stringify(base, null, 2)],
  ['the order of keys', reversed(base)],
  ['escapes', escaped],
  ['merges as strings', { ...base, model: { ...model, merges: model.merges.map((pair) => pair.join(' ')) } }],
  ['truncation and padding', { ...base, truncation: { max_length: 50 }, padding: { strategy: 'BatchLongest' } }],
  [
    'explicit defaults',
    {
      ...base,
      normalizer: { type: 'Sequence', normalizers: [] },
      pre_tokenizer: sequence(bytePretokenizer({ trim_offsets: false })),
      model: { ...model, unk_token: null, fuse_unk: false, byte_fallback: null, continuing_subword_prefix: '' },
    },
  ],
  ['no post-processor for offsets', { ...base, post_processor: null }],
  ['the order of added tokens', { ...base, added_tokens: [...base.added_tokens].sort((a, b) => a.id - b.id) }],
  ['settings that say what is so', base, { tokenizer_class: 'LlamaTokenizer', ...names, add_bos_token: false }],
];
for (const [what, json, settings] of same) {
  test(`${what} leave a tokenizer what it is`, async () => {
    const files = settings ? { tokenizer_config: settings } : {};
    assert.is((await load(json, files)).hash, (await load(base)).hash);
  });
}

const swapped = { ...model.vocab, d: model.vocab.e!, e: model.vocab.d! };
const other: [what: string, json: unknown, settings?: object][] = [
  ['two tokens that changed places', { ...base, model: { ...model, vocab: swapped } }],
  ['merges in another order', { ...base, model: { ...model, merges: [...model.merges].reverse() } }],
  ['a merge less', { ...base, model: { ...model, merges: model.merges.slice(0, -1) } }],
  ['another option of the model', { ...base, model: { ...model, ignore_merges: true } }],
  ['another normalizer', { ...base, normalizer: { type: 'NFC' } }],
  ['another split', { ...base, pre_tokenizer: bytePretokenizer({ use_regex: false }) }],
  [
    'an added token that takes white space',
    byteLevel({ ...withoutBos, added: [{ ...added[0]!, lstrip: true }, added[1]!] }),
  ],
  ['add_bos_token', base, { tokenizer_class: 'LlamaTokenizer', ...names, add_bos_token: true }],
  ['add_eos_token', base, { tokenizer_class: 'GPTNeoXTokenizer', ...names, add_eos_token: true }],
  ['split_special_tokens', base, { split_special_tokens: true }],
  ['add_prefix_space', base, { add_prefix_space: true }],
  ['another special token', base, { ...fast, pad_token: '<p>' }],
];
test('what changes the tokens of a text makes it another tokenizer', async () => {
  const hashes = new Map([[(await load(base)).hash, 'the first']]);
  for (const [what, json, settings] of other) {
    const { hash } = await load(json, settings ? { tokenizer_config: settings } : {});
    assert.not(hashes.has(hash), `${what} is like ${hashes.get(hash)}`);
    hashes.set(hash, what);
  }
  const tokenizer_config = { tokenizer_class: 'LlamaTokenizer', ...names, add_bos_token: true };
  assert.is(
    (await load(base, { tokenizer_config })).hash,
    (await load(byteLevel(withBos))).hash,
    'a template is a flag',
  );
});

test("Metaspace's older spellings mean the same", async () => {
  const hash = async (options: object) => {
    const step = { type: 'Metaspace', replacement: '▁', ...options };
    return (await load(sentencePiece({ pre_tokenizer: step, decoder: step }))).hash;
  };
  assert.is(
    await hash({ prepend_scheme: 'always', split: true }),
    await hash({ add_prefix_space: true, str_rep: '▁' }),
  );
  assert.is(await hash({ prepend_scheme: 'never' }), await hash({ add_prefix_space: false }));
  assert.is.not(await hash({ prepend_scheme: 'first' }), await hash({ prepend_scheme: 'always' }));
});

test('the hash of a folder is that of its tokenizer, and there is none where it has none', async () => {
  const path = await writeTokenizer(folder, base);
  const { hash } = await Tokenizer.load(path);
  assert.match(hash, /^[0-9a-f]{64}$/);
  assert.is((await findDefinition(path))?.hash, hash);
  await appendFile(join(path, 'tokenizer.json'), ' \n');
  assert.is((await findDefinition(path))?.hash, hash);
  await writeFile(join(path, 'tokenizer.json'), (await readFile(join(path, 'tokenizer.json'), 'utf8')).slice(1));
  await fails(() => findDefinition(path), 'BAD_TOKENIZER', /not valid JSON/);
  assert.is(await findDefinition(folder), undefined);
});

// ---- What is not JSON ----

test('settings with the numbers that Python writes are read, and Git LFS pointers are named', async () => {
  const path = await writeTokenizer(folder, base, { tokenizer_config: names });
  const config = join(path, 'tokenizer_config.json');
  await writeFile(config, '{"bos_token": "<s>", "model_max_length": Infinity, "rate": NaN}');
  assert.is((await Tokenizer.load(path)).bosToken, base.added_tokens[0]!.id);
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 9085698\n`;
  const named = (file: string) =>
    new RegExp(`${file}' is a Git LFS pointer, and the file of 9085698 bytes .*git lfs pull`);
  await writeFile(config, pointer);
  await fails(() => Tokenizer.load(path), 'BAD_TOKENIZER', named('tokenizer_config.json'));
  await writeFile(join(path, 'tokenizer.json'), pointer);
  await fails(() => Tokenizer.load(path), 'BAD_TOKENIZER', named('tokenizer.json'));
});

test.run();
