import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as huggingFace from '@huggingface/tokenizers';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';
import { toByteCharacters } from '../../lib/data/tokenizer/byte-level.js';
import { Tokenizer } from '../../lib/data/tokenizer.js';
import { type TrainedTokenizer, trainTokenizer } from '../../lib/data/train-tokenizer.js';

const test = suite('train tokenizer');
let folder: string;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'train-tokenizer-'));
});
test.after(() => rm(folder, { recursive: true }));

const poem = `Twinkle, twinkle, little star, how I wonder what you are! Up above the world so high,
like a diamond in the sky. 1234567 aaaaaaaaa aaaa aaa abababab ababab; they'RE HERE, don't\twait…  naïve 日本語 😀😀\r\n\n`;
const odd = [
  '',
  ' ',
  poem,
  "'ſ 'S\u0085\ufeff \u2003x",
  '\u0000\u0001\uffff',
  '12345 ²٣',
  '<|endoftext|>',
  'e\u0301 é 한국어 👩‍👩‍👧',
];

test('merges are those that counting all pairs anew gives each time', async () => {
  const corpus = fileURLToPath(new URL('../../lib', import.meta.url));
  const sources = (await readdir(corpus)).filter((name) => name.endsWith('.ts')).sort();
  const texts = [poem, ...(await Promise.all(sources.map((name) => readFile(join(corpus, name), 'utf8'))))];
  const trained = await trainTokenizer(texts, { vocabularySize: 257 + 150 });
  assert.equal(trained.merges, countAnew(texts, trained.tokens.slice(0, 257), 150));
});

test('merges are those of the Hugging Face trainer', async () => {
  // Printed by tokenizers 0.23.2: BpeTrainer(vocab_size=289, initial_alphabet=ByteLevel.alphabet()) on the same text.
  const { merges } = await trainTokenizer([poem], { vocabularySize: 289 });
  assert.is(merges.map((pair) => pair.join('+')).join(' '), HUGGING_FACE_MERGES);
});

test('the same text gives the same files, in whatever order and parts it comes', async () => {
  const lines = [poem, 'one more text', poem.toUpperCase()];
  async function* stream() {
    for (const line of lines.toReversed()) yield await Promise.resolve(line);
  }
  const files: string[] = [];
  for (const [index, texts] of [lines, stream(), new Set(lines)].entries()) {
    const trained = await trainTokenizer(texts, { vocabularySize: 300 });
    const path = join(folder, `same-${index}`);
    await trained.save(path);
    files.push(await readFile(join(path, 'tokenizer.json'), 'utf8'));
    assert.equal((await readdir(path)).sort(), ['tokenizer.json', 'tokenizer_config.json']);
  }
  assert.is(files[1], files[0]);
  assert.is(files[2], files[0]);
});

test('special tokens come first, then the bytes, then what was merged', async () => {
  const { tokens, vocabularySize } = await trainTokenizer(['aaaa'], {
    vocabularySize: 259,
    specialTokens: ['<end>', '<pad>'],
  });
  assert.is(vocabularySize, 259);
  assert.equal(tokens.slice(0, 3), ['<end>', '<pad>', '!']);
  assert.is(tokens.at(-1), 'aa');
});

test('what was saved loads, gives back every text and adds no special tokens', async () => {
  const tokenizer = await saveAndLoad(await trainTokenizer([poem], { vocabularySize: 320 }), 'loads');
  assert.is(tokenizer.vocabularySize, 320);
  assert.is(tokenizer.bosToken, 0);
  assert.is(tokenizer.eosToken, 0);
  for (const text of odd) assert.is(tokenizer.decode(tokenizer.encode(text)), text);
  assert.equal(tokenizer.encode('a<|endoftext|>'), [...tokenizer.encode('a'), 0]);
  assert.ok(tokenizer.encode(poem).length < Buffer.byteLength(poem) / 1.5);
});

test('what was saved means the same to @huggingface/tokenizers', async () => {
  const path = join(folder, 'other');
  await (await trainTokenizer([poem], { vocabularySize: 320 })).save(path);
  const read = async (name: string) => JSON.parse(await readFile(join(path, name), 'utf8'));
  const { Tokenizer: Other } = huggingFace as unknown as {
    Tokenizer: new (json: object, config: object) => { encode(text: string): { ids: number[] } };
  };
  const other = new Other(await read('tokenizer.json'), await read('tokenizer_config.json'));
  const tokenizer = await Tokenizer.load(path);
  for (const text of odd) assert.equal(other.encode(text).ids, tokenizer.encode(text), text);
});

test('training stops early where no pairs are left', async () => {
  const { vocabularySize, merges } = await trainTokenizer(['ab', 'ab'], { vocabularySize: 1000 });
  assert.equal(merges, [['a', 'b']]);
  assert.is(vocabularySize, 258);
});

test('a token that two merges lead to is one token', async () => {
  // 'ab' is a special token here, so the merge of a and b finds it in the vocabulary.
  const trained = await trainTokenizer(['abab ab'], { vocabularySize: 260, specialTokens: ['<end>', 'ab'] });
  assert.equal(trained.merges[0], ['a', 'b']);
  assert.is(new Set(trained.tokens).size, trained.tokens.length);
  await saveAndLoad(trained, 'twice');
});

test('options that cannot work are refused', async () => {
  const train = (options: object) => () => trainTokenizer([poem], { vocabularySize: 300, ...options });
  await throws(train({ vocabularySize: 256 }), 'BAD_OPTION', /from 257 .*received 256/);
  await throws(train({ vocabularySize: 300.5 }), 'BAD_OPTION', /received 300\.5/);
  await throws(train({ vocabularySize: 2 ** 30 }), 'BAD_OPTION', /to 16777216/);
  await throws(train({ specialTokens: [] }), 'BAD_OPTION', /one or more/);
  await throws(train({ specialTokens: ['a', 'a'] }), 'BAD_OPTION', /different/);
  await throws(train({ specialTokens: [''] }), 'BAD_OPTION', /empty/);
  await throws(() => trainTokenizer([''], { vocabularySize: 300 }), 'BAD_DATA', /no text/);
});

test('training can be aborted while it reads and while it merges', async () => {
  const reason = new Error('enough');
  await throws(
    () => trainTokenizer([poem], { vocabularySize: 300, signal: AbortSignal.abort(reason) }),
    'ABORTED',
    /stopped/,
  );
  const controller = new AbortController();
  function* untilAborted() {
    for (let index = 0; ; index++) {
      if (index === 5) controller.abort();
      yield poem;
    }
  }
  await throws(
    () => trainTokenizer(untilAborted(), { vocabularySize: 300, signal: controller.signal }),
    'ABORTED',
    /a/,
  );
});

test('the event loop gets turns while training', async () => {
  const words = Array.from({ length: 20_000 }, (_, index) => `${index * 7919} ${(index * 104729).toString(36)}`);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await trainTokenizer(words, { vocabularySize: 1000 });
  clearInterval(timer);
  assert.ok(turns >= 3, `${turns} turns`);
});

test('a folder that cannot be written is told', async () => {
  const trained = await trainTokenizer([poem], { vocabularySize: 300 });
  await throws(() => trained.save('/dev/null/tokenizer'), ['FILE_NOT_FOUND', 'FILE_IO'], /'\/dev\/null' is a file/);
});

test('five megabytes train to 4,096 tokens in seconds', async () => {
  const corpora = fileURLToPath(new URL('../../../shared/data/corpora', import.meta.url));
  if (!existsSync(corpora)) return console.log('skipped: no corpora');
  const names = ['english.txt', 'math.txt', 'code_python.txt'];
  const texts = await Promise.all(names.map((name) => readFile(join(corpora, name), 'utf8')));
  const start = performance.now();
  const { vocabularySize } = await trainTokenizer(texts.join('').split('\n\n'), { vocabularySize: 4096 });
  assert.is(vocabularySize, 4096);
  assert.ok(performance.now() - start < 60_000); // it takes 4 s; counting all pairs anew each time would take hours
});

const HUGGING_FACE_MERGES =
  "a+a a+b ab+ab Ġ+t aa+aa h+e i+n l+e o+n Ġ+s Ġ+w Ġt+he R+E a+r i+t k+le v+e w+in ð+Ł Ġ+d Ġ+h Ġ+abab Ġ+aaaa ĺ+Ģ on+d win+kle ðŁ+ĺĢ '+t '+RE ,+Ċ 1+2 4+5";

/** The definition, executed literally. Splits with a JavaScript expression of its own. */
function countAnew(texts: string[], start: string[], merges: number): [string, string][] {
  const split =
    /'(?:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+/giu;
  const ids = new Map(start.map((token, id) => [token, id]));
  let words = texts.flatMap((text) => text.match(split)!.map((word) => [...toByteCharacters(word)]));
  return Array.from({ length: merges }, () => {
    const counts = new Map<string, number>();
    for (const word of words) {
      for (let at = 1; at < word.length; at++) {
        const pair = `${word[at - 1]} ${word[at]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const rank = (pair: string) => pair.split(' ').map((token) => ids.get(token)!) as [number, number];
    const [best] = [...counts].sort(
      ([a, m], [b, n]) => n - m || rank(a)[0] - rank(b)[0] || rank(a)[1] - rank(b)[1],
    )[0]!;
    const [left, right] = best.split(' ') as [string, string];
    ids.set(left + right, ids.size);
    words = words.map((word) => {
      const merged: string[] = [];
      for (let at = 0; at < word.length; at++) {
        if (word[at] === left && word[at + 1] === right) merged.push(left + word[++at]);
        else merged.push(word[at]!);
      }
      return merged;
    });
    return [left, right];
  });
}

async function saveAndLoad(trained: TrainedTokenizer, name: string): Promise<Tokenizer> {
  await trained.save(join(folder, name));
  return Tokenizer.load(join(folder, name));
}

async function throws(run: () => Promise<unknown>, code: ErrorCode | ErrorCode[], message: RegExp): Promise<void> {
  const error = await run().then(
    () => null,
    (error) => error,
  );
  assert.instance(error, BtsError);
  assert.ok([code].flat().includes(error.code), `${error.code}`);
  assert.match(error.message, message);
}

test.run();
