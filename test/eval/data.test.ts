import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { DataFolder, huggingFacePaths } from '../../lib/eval/data/data-folder.js';
import { readExactRows, readRows } from '../../lib/eval/data/read-rows.js';
import { resolveTasks } from '../../lib/eval/registry.js';
import { repr } from '../../lib/python/repr.js';
import { fails, inFolder } from '../data/data-fixtures.js';

// Written by pyarrow 25 in the layouts of cais/mmlu and mandarjoshi/trivia_qa.
/** question, subject, choices: list of strings, answer: int64; snappy. */
const MMLU_PARQUET = Buffer.from(
  `UEFSMRUEFSoVLkwVBBUAEgAAFVAHAAAAIFdoYXQ/IAYAAABXaGljaD8VABUSFRYsFQQVEBUGFQYcAAAACSACAAAABAEBAwIVBBUWFRpMFQIVAB
   IAAAsoBwAAAGFuYXRvbXkVABUSFRYsFQQVEBUGFQYcAAAACSACAAAABAEBBAAVBBVQFUxMFRAVABIAACgQAQAAAHcBBQB4AQUAeQEFAHoBBTwx
   AQAAADIBAAAAMwEAAAA0FQAVIhUmLBUQFRAVBhUGHAAAABFAAgAAAAPuAgAAABADAwOIxvoVBBUgFSRMFQQVABIAABA8AgAAAAAAAAAAAAAAAA
   AAABUAFRIVFiwVBBUQFQYVBhwAAAAJIAIAAAAEAQEDAhUEGXw1ABgGc2NoZW1hFQgAFQwlAhgIcXVlc3Rpb24lAEwcAAAAFQwlAhgHc3ViamVj
   dCUATBwAAAA1AhgHY2hvaWNlcxUCFQZMPAAAADUEGARsaXN0FQIAFQwlAhgHZWxlbWVudCUATBwAAAAVBCUCGAZhbnN3ZXIAFgQZHBlMJgAcFQ
   wZNQAGEBkYCHF1ZXN0aW9uFQIWBBZ+FoYBJlImCCksFQQVABUCABUAFRAVAgA8FhoZBhkmAAQAAAAmABwVDBk1AAYQGRgHc3ViamVjdBUCFgQW
   ahZyJsQBJo4BKSwVBBUAFQIAFQAVEBUCADwWHBkGGSYABAAAACYAHBUMGTUABhAZOAdjaG9pY2VzBGxpc3QHZWxlbWVudBUCFhAWtAEWtAEm6A
   ImgAIpLBUEFQAVAgAVABUQFQIAPBYQGSYEDBlGAAAAEAAAACYAHBUEGTUABhAZGAZhbnN3ZXIVAhYEFnQWfCb0Aya0AyksFQQVABUCABUAFRAV
   AgA8KQYZJgAEAAAAFpAEFgQmCBaoBAAoIHBhcnF1ZXQtY3BwLWFycm93IHZlcnNpb24gMjUuMC4xGUwcAAAcAAAcAAAcAAAAxAEAAFBBUjE=`,
  'base64',
);
/** question, answer: struct of aliases (list of strings) and value; zstd. */
const TRIVIA_PARQUET = Buffer.from(
  `UEFSMRUEFQoVHEwVAhUAEgAAKLUv/SAFKQAAAQAAAFEVABUSFSQsFQIVEBUGFQYcAAAAKLUv/SAJSQAAAgAAAAIBAQIAFQQVFBUmTBUEFQASAA
   AotS/9IApRAAABAAAAYQEAAABiFQAVHhUwLBUEFRAVBhUGHAAAACi1L/0gD3kAAAIAAAADAgIAAAAEBAEDAhUEFQoVHEwVAhUAEgAAKLUv/SAF
   KQAAAQAAAGEVABUSFSQsFQIVEBUGFQYcAAAAKLUv/SAJSQAAAgAAAAICAQIAFQQZfDUAGAZzY2hlbWEVBAAVDCUCGAhxdWVzdGlvbiUATBwAAA
   A1AhgGYW5zd2VyFQQANQIYB2FsaWFzZXMVAhUGTDwAAAA1BBgEbGlzdBUCABUMJQIYB2VsZW1lbnQlAEwcAAAAFQwlAhgFdmFsdWUlAEwcAAAA
   FgIZHBk8JgAcFQwZNQAGEBkYCHF1ZXN0aW9uFQwWAhZeFoIBJkAmCCksFQQVABUCABUAFRAVAgA8FgIZBhkmAAIAAAAmABwVDBk1AAYQGUgGYW
   5zd2VyB2FsaWFzZXMEbGlzdAdlbGVtZW50FQwWBBZ0FpgBJswBJooBKSwVBBUAFQIAFQAVEBUCADwWBBkmAgIZVgAAAAAEAAAAJgAcFQwZNQAG
   EBkoBmFuc3dlcgV2YWx1ZRUMFgIWXhaCASbaAiaiAiksFQQVABUCABUAFRAVAgA8FgIZBhk2AAACAAAAFrACFgImCBacAwAoIHBhcnF1ZXQtY3
   BwLWFycm93IHZlcnNpb24gMjUuMC4xGTwcAAAcAAAcAAAAkgEAAFBBUjE=`,
  'base64',
);

/** id: int64 beyond 2^53, small: int32, score: float64, nested: struct of lists named '2' and '1'; zstd. */
const NUMBERS_PARQUET = Buffer.from(
  `UEFSMRUAFSwVPiwVBBUAFQYVBhwAAAAotS/9IBaxAAACAAAABAEBAAAAAAAgAP//////////FQAVFBUmLBUEFQAVBhUGHAAAACi1L/0gClEAAAIAAAADA
   QcAAAAVABUsFT4sFQQVABUGFQYcAAAAKLUv/SAWsQAAAgAAAAQBAAAAAAAA8D8AAAAAAAAEQBUAFSwVPiwVBBUAFQYVBhwAAAAotS/9IBaxAAACAAAABA
   AEAAAAAwQAAAAAAAAAAPA/FQAVLBU+LBUGFQAVBhUGHAAAACi1L/0gFrEAAAIAAAADAgQAAAADJAAAAwAAAAQAAAAVBBm8NQAYBnNjaGVtYRUIABUEJQI
   YAmlkABUCJQIYBXNtYWxsABUKJQIYBXNjb3JlADUCGAZuZXN0ZWQVBAA1AhgBMhUCFQZMPAAAADUEGARsaXN0FQIAFQolAhgHZWxlbWVudAA1AhgBMRUC
   FQZMPAAAADUEGARsaXN0FQIAFQIlAhgHZWxlbWVudAAWBBkcGVwmABwVBBklBgAZGAJpZBUMFgQWUhZkJghJHBUAFQAVAgA8KQYZJgAEAAAAJgAcFQIZJ
   QYAGRgFc21hbGwVDBYEFjoWTCZsSRwVABUAFQIAPCkGGSYCAgAAACYAHBUKGSUGABkYBXNjb3JlFQwWBBZSFmQmuAFJHBUAFQAVAgA8KQYZJgAEAAAAJg
   AcFQoZJQYAGUgGbmVzdGVkATIEbGlzdAdlbGVtZW50FQwWBBZSFmQmnAJJHBUAFQAVAgA8KSYEABlWAgAAAAIAAAAmABwVAhklBgAZSAZuZXN0ZWQBMQR
   saXN0B2VsZW1lbnQVDBYGFlIWZCaAA0kcFQAVABUCADwpJgQCGVYCAAAABAAAABaCAxYEJggW3AMAKCBwYXJxdWV0LWNwcC1hcnJvdyB2ZXJzaW9uIDI1
   LjAuMRlcHAAAHAAAHAAAHAAAHAAAAOIBAABQQVIx`,
  'base64',
);

const values = async (path: string) => (await readRows(path)).map(({ value }) => value);
const task = (name: string) => resolveTasks([name])[0]!.tasks[0]!;

test('rows are read from every format, compressed or not', async () => {
  const files = {
    'a.jsonl': '{"a":1}\n\n{"a":2}\n',
    'b.json': '[1,2]',
    'c.json': '{"canary":"x","examples":[{"a":1}]}',
    'one.json': '{"problem":"p"}',
    'd.csv': '"a ""quoted""\nline",b,1\nc,,2\n',
    'e.tsv': 'a "b\t1,000\n',
    'f.en': 'one\n two \n\nfour\n',
    'g.jsonl.gz': gzipSync('{"a":3}\n'),
    'h.parquet': MMLU_PARQUET,
  };
  await inFolder(files, async (folder) => {
    assert.equal(await values(join(folder, 'a.jsonl')), [{ a: 1 }, { a: 2 }]);
    assert.equal(await values(join(folder, 'b.json')), [1, 2]);
    assert.equal(await values(join(folder, 'c.json')), [{ a: 1 }]);
    assert.equal(await values(join(folder, 'one.json')), [{ problem: 'p' }]);
    assert.equal(await values(join(folder, 'd.csv')), [
      ['a "quoted"\nline', 'b', '1'],
      ['c', '', '2'],
    ]);
    assert.equal(await values(join(folder, 'e.tsv')), [['a "b', '1,000']]);
    assert.equal(await values(join(folder, 'f.en')), ['one', ' two ', '', 'four']);
    assert.equal(await values(join(folder, 'g.jsonl.gz')), [{ a: 3 }]);
    assert.equal(await values(join(folder, 'h.parquet')), [
      { question: ' What? ', subject: 'anatomy', choices: ['w', 'x', 'y', 'z'], answer: 2 },
      { question: 'Which?', subject: 'anatomy', choices: ['1', '2', '3', '4'], answer: 0 },
    ]);
  });
});

test('exact rows keep long integers, floats that are whole, and the order of fields', async () => {
  const files = {
    'a.jsonl': '{"id": 9007199254740993, "small": 7, "score": 1.0, "nested": {"2": [1.0], "1": [3]}}\n',
    'b.parquet': NUMBERS_PARQUET,
    'c.json': '{"rows": [{"n": 123456789012345678901234567890}]}',
    'd.jsonl.gz': gzipSync('{"a": NaN}\n'),
  };
  await inFolder(files, async (folder) => {
    const exact = async (name: string) => (await readExactRows(join(folder, name))).map(({ value }) => repr(value));
    assert.equal(await exact('a.jsonl'), [
      "{'id': 9007199254740993, 'small': 7, 'score': 1.0, 'nested': {'2': [1.0], '1': [3]}}",
    ]);
    assert.equal(await exact('b.parquet'), [
      "{'id': 9007199254740993, 'small': 7, 'score': 1.0, 'nested': {'2': [1.0], '1': [3, 4]}}",
      "{'id': -1, 'small': None, 'score': 2.5, 'nested': None}",
    ]);
    assert.equal(await exact('c.json'), ["{'n': 123456789012345678901234567890}"]);
    assert.equal(await exact('d.jsonl.gz'), ["{'a': nan}"]);
    const [row] = await values(join(folder, 'b.parquet'));
    assert.equal(row, { id: 9007199254740993n, small: 7, score: 1, nested: { 1: [3, 4], 2: [1] } });
  });
});

test('malformed files are named with their line', async () => {
  const files = {
    'a.jsonl': '{"a":1}\n{"a"\n',
    'b.json': '3',
    'c.csv': '"open',
    'd.txt': new Uint8Array([0xff, 0xfe]),
    'e.gz': 'not compressed',
    'f.parquet': 'no parquet',
  };
  await inFolder(files, async (folder) => {
    await fails(() => readRows(join(folder, 'a.jsonl')), 'BAD_DATA', /a\.jsonl:2 is not JSON/);
    for (const name of Object.keys(files).slice(1)) await fails(() => readRows(join(folder, name)), 'BAD_DATA', /./);
    await fails(() => readRows(join(folder, 'missing.json')), 'FILE_NOT_FOUND', /missing\.json/);
  });
});

test('shards are read in the order of their numbers, the first place that has any', async () => {
  const files = {
    'set/main/test-10.jsonl': '{"n":10}\n',
    'set/main/test-9.jsonl': '{"n":9}\n',
    'set/test.jsonl': '{"n":0}\n',
  };
  await inFolder(files, async (folder) => {
    const paths = ['set/main/test-*.jsonl', ...huggingFacePaths('set', 'main', 'test')];
    const location = { what: 'numbers', paths, source: 'nowhere' };
    const data = new DataFolder(folder);
    assert.equal(await data.read(location, z.object({ n: z.number() })), [{ n: 9 }, { n: 10 }]);
    await fails(
      () => data.read(location, z.object({ m: z.number() })),
      'BAD_DATA',
      /test-9\.jsonl:1 is no row of numbers: m/,
    );
  });
});

test("a benchmark in Hugging Face's layout gives the documents of the original", async () => {
  const question = { question: ' What? ', subject: 'anatomy', choices: ['w', 'x', 'y', 'z'], answer: 2 };
  const original = { 'mmlu/test/anatomy_test.csv': ' What? ,w,x,y,z,C\n' };
  const lines = { 'mmlu/anatomy/test.jsonl': `${JSON.stringify(question)}\n` };
  const parquet = { 'mmlu/anatomy/test-00000-of-00001.parquet': MMLU_PARQUET };
  const asked: string[] = [];
  for (const files of [original, lines, parquet]) {
    await inFolder(files, async (folder) => {
      const mmlu = task('mmlu_anatomy');
      const [doc] = await mmlu.documents(new DataFolder(folder));
      assert.is(mmlu.answer(doc), 2);
      asked.push(mmlu.question(doc));
    });
  }
  assert.is(asked[0], 'What?\nA. w\nB. x\nC. y\nD. z\nAnswer:');
  assert.equal(asked, [asked[0], asked[0], asked[0]]);

  const trivia = {
    'triviaqa/rc.nocontext/validation.jsonl': '{"question":"V","answer":{"aliases":["x","y"],"value":"x"}}\n',
    'triviaqa/rc.nocontext/train-00000-of-00001.parquet': TRIVIA_PARQUET,
    'mgsm/ru/test.jsonl': '{"question":"В","answer":null,"answer_number":7,"equation_solution":null}\n',
    'flores/all/devtest.jsonl': '{"sentence_eng_Latn":"one","sentence_nld_Latn":"een"}\n',
    'bbh/bbh/navigate.json': '{"examples":[{"input":"i","target":"t"}]}',
    'bbh/cot-prompts/navigate.txt':
      "canary\n-----\nDo it.\n\nQ: a\nA: Let's think step by step.\nSo the answer is b.\n\nQ: c",
  };
  await inFolder(trivia, async (folder) => {
    const data = new DataFolder(folder);
    const triviaqa = task('triviaqa');
    assert.equal((await triviaqa.documents(data)).map(triviaqa.answer), [['x', 'y']]);
    assert.equal((await triviaqa.examples!(data)).map(triviaqa.question), ['Question: Q?\nAnswer:']);
    const mgsm = task('mgsm_direct_ru');
    assert.equal((await mgsm.documents(data)).map(mgsm.question), ['Задача: В\nAnswer:']);
    const flores = task('flores_en-nl');
    assert.equal((await flores.documents(data)).map(flores.question), ['English sentence: one\nDutch sentence:']);
    const bbh = task('bbh_cot_fewshot_navigate');
    const [doc] = await bbh.documents(data);
    assert.is(bbh.preamble!(doc), 'Do it.\n\n');
    const [example] = await bbh.examples!(data);
    assert.is(
      `${bbh.question(example)}${bbh.answer(example)}`,
      "Q: a\nA: Let's think step by step.\nSo the answer is b.",
    );
    const [short] = await task('bbh_fewshot_navigate').examples!(data);
    assert.is(bbh.answer(short), 'b');
  });
});

test('a missing benchmark says what to fetch and where it must lie', async () => {
  await inFolder({}, async (folder) => {
    const data = new DataFolder(folder);
    await fails(
      () => task('gsm8k').documents(data),
      'FILE_NOT_FOUND',
      /test problems of GSM8K .*grade-school-math.*'gsm8k\/test\.jsonl'/,
    );
    for (const { name } of resolveTasks(['all']).flatMap(({ tasks }) => tasks)) {
      await fails(() => task(name).documents(data), 'FILE_NOT_FOUND', /Fetch them from .* put them there as '/);
    }
  });
});

test('a name stands for a task, a group, a form, or says what is like it', async () => {
  assert.equal(
    resolveTasks(['mmlu_anatomy', 'mmlu_stem', 'minerva_math_*']).map(({ name, tasks }) => [name, tasks.length]),
    [
      ['mmlu_anatomy', 1],
      ['mmlu_stem', 19],
      ...[
        'algebra',
        'counting_and_prob',
        'geometry',
        'intermediate_algebra',
        'num_theory',
        'prealgebra',
        'precalc',
      ].map((part) => [`minerva_math_${part}`, 1]),
    ],
  );
  await fails(() => resolveTasks(['gsm-8k']), 'BAD_TASK', /no task 'gsm-8k'. Did you mean 'gsm8k'/);
  assert.is(new Set(resolveTasks(['all', 'mmlu']).map(({ name }) => name)).size, 10);
});

test.run();
