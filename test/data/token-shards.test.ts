import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, mkdir, readdir, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readDocuments } from '../../lib/data/documents.js';
import { isHeldOut, textPosition } from '../../lib/data/held-out.js';
import { ShardWriter } from '../../lib/data/shard-writer.js';
import {
  type DomainTokens,
  type PrepareOptions,
  type PrepareProgress,
  prepareTokens,
} from '../../lib/data/token-shards.js';
import { ArrayTokens, FileTokens, type TokenStream } from '../../lib/data/token-stream.js';
import { ByteTokenizer, collect, fails, inFolder } from './data-fixtures.js';

const CORPORA = fileURLToPath(new URL('../../../shared/data/corpora/', import.meta.url));

function jsonLines(documents: readonly string[]): string {
  return documents.map((text) => `${JSON.stringify({ text })}\n`).join('');
}

/** Prepares the folder `text` of `folder`, the cache being its folder `cache`. */
function prepare(
  folder: string,
  tokenizer: ByteTokenizer,
  options: Partial<PrepareOptions> = {},
): Promise<DomainTokens> {
  return prepareTokens({
    name: 'math',
    paths: [join(folder, 'text')],
    cacheFolder: join(folder, 'cache'),
    tokenizer,
    ...options,
  });
}

function all(stream: TokenStream): Promise<Int32Array> {
  return stream.read(0, stream.length);
}

/** The texts of both sides; disposes them. */
async function textsOf(
  domain: DomainTokens,
  tokenizer: ByteTokenizer,
): Promise<{ train: string[]; heldOut: string[] }> {
  const train = tokenizer.texts(await all(domain.train));
  const heldOut = tokenizer.texts(await all(domain.heldOut));
  assert.is(domain.train.documents, train.length);
  assert.is(domain.heldOut.documents, heldOut.length);
  await domain.dispose();
  return { train, heldOut };
}

const DOCUMENTS = Array.from({ length: 400 }, (_, index) => `Document ${index}: ${'é'.repeat(index % 50)}.`);

test('every document is on one side, in order, followed by end-of-text', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const domain = await prepare(folder, tokenizer);
    assert.is(domain.name, 'math');
    assert.equal(domain.split, { unit: 'document', threshold: 0.05 });
    const { train, heldOut } = await textsOf(domain, tokenizer);
    assert.equal(
      train,
      DOCUMENTS.filter((text) => !isHeldOut(text, 0.05)),
    );
    assert.equal(
      heldOut,
      DOCUMENTS.filter((text) => isHeldOut(text, 0.05)),
    );
    // Four standard deviations of a binomial with n = 400 and p = 0.05.
    assert.ok(Math.abs(heldOut.length - 20) < 4 * Math.sqrt(400 * 0.05 * 0.95), `${heldOut.length} held out`);
  });
});

test('a document falls on the same side whatever its file and its place', async () => {
  assert.is(textPosition('abc'), textPosition('\n abc\n'));
  assert.is.not(textPosition('abc'), textPosition('abd'));
  const files = Object.fromEntries(DOCUMENTS.map((text, index) => [`text/${1000 - index}.txt`, `${text}\n`]));
  const heldOut = DOCUMENTS.filter((text) => isHeldOut(text, 0.05)).sort();
  for (const content of [files, { 'text/a.jsonl': jsonLines([...DOCUMENTS].reverse()) }]) {
    await inFolder(content, async (folder) => {
      const tokenizer = new ByteTokenizer();
      const texts = await textsOf(await prepare(folder, tokenizer), tokenizer);
      assert.equal(texts.heldOut.map((text) => text.trim()).sort(), heldOut);
    });
  }
});

test('where the hashes put all documents on one side, the nearest one goes to the other', async () => {
  for (const heldOutFraction of [1e-9, 1 - 1e-9]) {
    await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
      const tokenizer = new ByteTokenizer();
      const { train, heldOut } = await textsOf(await prepare(folder, tokenizer, { heldOutFraction }), tokenizer);
      const byPosition = [...DOCUMENTS].sort((a, b) => textPosition(a) - textPosition(b));
      if (heldOutFraction < 0.5) assert.equal(heldOut, [byPosition[0]]);
      else assert.equal(train, [byPosition.at(-1)]);
      assert.is(train.length + heldOut.length, DOCUMENTS.length);
    });
  }
});

test('one long file yields held-out text: pieces of it', async () => {
  const book = Array.from({ length: 3000 }, (_, index) => `Paragraph ${index} of a long book.\n\n`).join('');
  await inFolder({ 'text/book.txt': book }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const domain = await prepare(folder, tokenizer, { heldOutFraction: 0.2 });
    assert.is(domain.split.unit, 'piece');
    const { train, heldOut } = await textsOf(domain, tokenizer);
    const size = (texts: string[]) => texts.join('').length;
    assert.is(size(train) + size(heldOut), book.length);
    assert.ok(size(heldOut) > 0.05 * book.length && size(heldOut) < 0.4 * book.length, `${size(heldOut)} held out`);
    assert.ok([...train, ...heldOut].every((text) => book.includes(text) && text.endsWith('\n\n')));
    // Neighbouring pieces on the same side stay together: sides alternate.
    assert.ok(Math.abs(train.length - heldOut.length) <= 1 && heldOut.length > 1);
  });
});

test('a few short documents yield held-out text, a single one does not and says so', async () => {
  const few = ['First of three.', 'Second of three.', 'Third of three.'];
  await inFolder({ 'text/a.jsonl': jsonLines(few) }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const { train, heldOut } = await textsOf(await prepare(folder, tokenizer), tokenizer);
    assert.is(heldOut.length, 1);
    assert.equal([...train, ...heldOut].sort(), few);
  });
  for (const text of ['Only one.', 'Only one.\n']) {
    await inFolder({ 'text/a.txt': text, 'text/b.txt': 'Only one.' }, async (folder) => {
      const tokenizer = new ByteTokenizer();
      await fails(() => prepare(folder, tokenizer), 'BAD_DATA', /'math' has too little text.*heldOutFraction to 0/);
      const { train, heldOut } = await textsOf(await prepare(folder, tokenizer, { heldOutFraction: 0 }), tokenizer);
      assert.equal([train, heldOut], [[text, 'Only one.'], []]);
    });
  }
});

test('what is prepared is reused for the same content, and for nothing else', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS), 'text/b.txt': 'x\n\ny' }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const first = await textsOf(await prepare(folder, tokenizer), tokenizer);
    const isReused = async (options: Partial<PrepareOptions> = {}) => {
      const before = tokenizer.calls;
      await (await prepare(folder, tokenizer, options)).dispose();
      return tokenizer.calls === before;
    };
    assert.ok(await isReused());
    assert.ok(await isReused({ name: 'another name', documents: 'file', textField: 'text' }));
    await utimes(join(folder, 'text/b.txt'), 1, 1);
    await rename(join(folder, 'text/a.jsonl'), join(folder, 'text/a2.jsonl'));
    assert.ok(await isReused(), 'names and dates do not count');
    assert.equal(await textsOf(await prepare(folder, tokenizer), tokenizer), first);

    assert.not(await isReused({ heldOutFraction: 0.1 }));
    assert.not(await isReused({ documents: 'paragraph' }));
    assert.not(await isReused({ tokenizer: Object.assign(tokenizer, { hash: 'another' }) }));
    assert.ok((await isReused({ documents: 'paragraph', heldOutFraction: 0.05 })) === false);
    Object.assign(tokenizer, { hash: 'bytes' });
    await rename(join(folder, 'text/b.txt'), join(folder, 'text/1.txt'));
    assert.not(await isReused(), 'the order of the files counts');
    await writeFile(join(folder, 'text/1.txt'), 'x\n\nz');
    assert.not(await isReused(), 'content counts');
  });
});

test('the content hash names the tokens of both sides, whatever names, caches and options they came by', async () => {
  const lines = jsonLines(DOCUMENTS);
  const files = {
    'text/a.jsonl': lines,
    'edited/a.jsonl': lines.replace('399', '398'),
    'compressed/a.jsonl.gz': gzipSync(lines),
    'compressed-edited/a.jsonl.gz': gzipSync(lines.replace('399', '398')),
  };
  await inFolder(files, async (folder) => {
    const hashOf = async (options: Partial<PrepareOptions> = {}) => {
      await using domain = await prepare(folder, new ByteTokenizer(), options);
      return domain.contentHash;
    };
    const hash = await hashOf();
    assert.match(hash, /^[0-9a-f]{64}$/);
    assert.is(await hashOf(), hash, 'from the cache');
    assert.is(await hashOf({ name: 'other', cacheFolder: join(folder, 'other'), documents: 'paragraph' }), hash);
    // As many tokens, one of them another: on either side.
    const edited = await hashOf({ paths: [join(folder, 'edited')] });
    assert.is.not(edited, hash);
    assert.is(await hashOf({ paths: [join(folder, 'compressed')] }), hash);
    assert.is(await hashOf({ paths: [join(folder, 'compressed-edited')] }), edited);
    assert.is.not(await hashOf({ heldOutFraction: 0.06 }), hash, 'what is held out counts');
    assert.is.not(await hashOf({ tokenizer: new ByteTokenizer(70_000) }), hash, 'how wide tokens are counts');
  });
});

test('a damaged cache is made anew', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const first = await textsOf(await prepare(folder, tokenizer), tokenizer);
    const damages: Record<string, (cache: string) => Promise<unknown>> = {
      'one bit of a shard': async (cache) => {
        const bytes = await readFile(join(cache, 'train-00000.bin'));
        bytes[100]! ^= 1;
        await writeFile(join(cache, 'train-00000.bin'), bytes);
      },
      'a shard cut short': (cache) => truncate(join(cache, 'held-out-00000.bin'), 10),
      'a longer shard': (cache) => appendFile(join(cache, 'held-out-00000.bin'), 'xx'),
      'no shard': (cache) => rm(join(cache, 'train-00000.bin')),
      'no index': (cache) => rm(join(cache, 'index.json')),
      'an index cut short': (cache) => truncate(join(cache, 'index.json'), 30),
      'an index of something else': (cache) => writeFile(join(cache, 'index.json'), '{"format":1}'),
    };
    for (const [damage, inflict] of Object.entries(damages)) {
      const [name, ...others] = await readdir(join(folder, 'cache'));
      assert.equal(others, []);
      await inflict(join(folder, 'cache', name!));
      const before = tokenizer.calls;
      assert.equal(await textsOf(await prepare(folder, tokenizer), tokenizer), first, damage);
      assert.ok(tokenizer.calls > before, damage);
    }
  });
});

test('what was interrupted leaves nothing behind, and can be begun again', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
    class Failing extends ByteTokenizer {
      override encode(text: string): number[] {
        if (this.calls === 200) throw new Error('out of luck');
        return super.encode(text);
      }
    }
    const error = await prepare(folder, new Failing()).catch((error) => error);
    assert.is(error.message, 'out of luck');
    assert.equal(await readdir(join(folder, 'cache')), []);

    const controller = new AbortController();
    const aborting = new ByteTokenizer();
    aborting.encode = () => {
      controller.abort('enough');
      return [];
    };
    await fails(() => prepare(folder, aborting, { signal: controller.signal }), 'ABORTED', /stopped/);
    assert.equal(await readdir(join(folder, 'cache')), []);

    // As a killed process of this machine would have left it; another machine's, or a running one's, is not touched.
    const { pid: ended } = spawnSync(process.execPath, ['--version']);
    const key = `${'0'.repeat(64)}-01234567`;
    const kept = [`${key}.elsewhere.example.${ended}.tmp`, `${key}.${hostname()}.${process.pid}.tmp`];
    for (const name of [...kept, `${key}.${hostname()}.${ended}.tmp`]) await mkdir(join(folder, 'cache', name));
    const tokenizer = new ByteTokenizer();
    const { train, heldOut } = await textsOf(await prepare(folder, tokenizer), tokenizer);
    assert.is(train.length + heldOut.length, DOCUMENTS.length);
    const left = await readdir(join(folder, 'cache'));
    assert.equal(left.filter((name) => name.endsWith('.tmp')).sort(), kept.sort());
    assert.is(left.length, 3);
  });
});

test('several that prepare the same at once all succeed, on an empty and on a damaged cache', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
    const tokenizer = new ByteTokenizer();
    const atOnce = async () => {
      const domains = await Promise.all([1, 2, 3, 4].map(() => prepare(folder, new ByteTokenizer())));
      return Promise.all(domains.map((domain) => textsOf(domain, tokenizer)));
    };
    const [first, ...others] = await atOnce();
    assert.is(first!.train.length + first!.heldOut.length, DOCUMENTS.length);
    for (const other of others) assert.equal(other, first);
    for (const name of await readdir(join(folder, 'cache'))) {
      await truncate(join(folder, 'cache', name, 'train-00000.bin'), 10);
    }
    for (const other of await atOnce()) assert.equal(other, first);
    assert.not((await readdir(join(folder, 'cache'))).some((name) => name.endsWith('.tmp')));
  });
});

test('tokens take 16 bits up to a vocabulary of 65,536 and 32 bits beyond it', async () => {
  for (const [vocabularySize, token, tokenBytes] of [
    [65_536, 65_535, 2],
    [65_537, 65_536, 4],
    [2 ** 31, 2 ** 31 - 1, 4],
  ] as const) {
    await inFolder({ 'text/a.txt': 'text' }, async (folder) => {
      const tokenizer = new ByteTokenizer(vocabularySize);
      tokenizer.encode = () => [token, 0, 1];
      await using domain = await prepare(folder, tokenizer, { heldOutFraction: 0 });
      assert.equal([...(await all(domain.train))], [token, 0, 1, 256]);
      assert.is((domain.train as FileTokens).tokenBytes, tokenBytes);
    });
  }
});

test('what cannot be prepared is a typed error', async () => {
  await inFolder({ 'text/a.txt': 'text', 'text/b.txt': 'more', 'blank/a.txt': ' \n' }, async (folder) => {
    const blank = { paths: [join(folder, 'blank')] };
    await fails(() => prepare(folder, new ByteTokenizer(), blank), 'BAD_DATA', /no text in domain 'math'/);
    for (const heldOutFraction of [-0.1, 1, Number.NaN]) {
      await fails(() => prepare(folder, new ByteTokenizer(), { heldOutFraction }), 'BAD_OPTION', /heldOutFraction/);
    }
    const noEnd = Object.assign(new ByteTokenizer(), { eosToken: null });
    await fails(() => prepare(folder, noEnd), 'BAD_TOKENIZER', /end-of-text/);
    for (const token of [257, -1, 0.5, Number.NaN]) {
      const wrong = new ByteTokenizer();
      wrong.encode = () => [token];
      await fails(() => prepare(folder, wrong), 'BAD_TOKEN', new RegExp(`token ${token}; .* 257`));
    }
    const wrongEnd = new ByteTokenizer(256);
    await fails(() => prepare(folder, wrongEnd), 'BAD_TOKEN', /token 256/);
    const changing = new ByteTokenizer();
    changing.encode = () => {
      appendFile(join(folder, 'text/b.txt'), '!');
      return [];
    };
    await fails(() => prepare(folder, changing), 'BAD_DATA', /'math' changed while they were read/);
    assert.equal(await readdir(join(folder, 'cache')), []);
  });
});

test('progress is told', async () => {
  await inFolder({ 'text/a.jsonl': jsonLines(DOCUMENTS) }, async (folder) => {
    const reports: PrepareProgress[] = [];
    await using domain = await prepare(folder, new ByteTokenizer(), { onProgress: (report) => reports.push(report) });
    const tokens = domain.train.length + domain.heldOut.length;
    assert.equal(reports.at(-1), { domain: 'math', documents: DOCUMENTS.length, tokens });
  });
});

test('a stream reads any stretch across its files, and refuses others', async () => {
  await inFolder({}, async (folder) => {
    const tokens: number[] = [];
    const writer = new ShardWriter((shard) => join(folder, `${shard}.bin`), 70_000, 4, {
      shardTokens: 100,
      bufferTokens: 30,
    });
    for (let document = 0; document < 23; document++) {
      const text = Array.from({ length: (document * 13) % 47 }, (_, index) => 69_000 - document - index);
      await writer.writeDocument(text, 7);
      tokens.push(...text, 7);
    }
    await writer.finish();
    assert.equal(
      writer.shards.map((shard) => shard.tokens),
      [...new Array(Math.floor(tokens.length / 120)).fill(120), tokens.length % 120],
    );

    const files = await FileTokens.open(writer.shards, 4, writer.documents);
    for (const stream of [files, new ArrayTokens(tokens, 23)]) {
      assert.is(stream.length, tokens.length);
      assert.is(stream.documents, 23);
      for (const [offset, count] of [
        [0, tokens.length],
        [119, 2],
        [120, 120],
        [50, 300],
        [3, 0],
        [tokens.length, 0],
      ] as const) {
        assert.equal([...(await stream.read(offset, count))], tokens.slice(offset, offset + count));
      }
      for (const [offset, count] of [
        [-1, 2],
        [0, tokens.length + 1],
        [tokens.length, 1],
        [0.5, 1],
        [0, -1],
        [0, Number.NaN],
      ] as const) {
        await fails(() => stream.read(offset, count), 'BAD_OPTION', /stream of/);
      }
    }
    await truncate(join(folder, '1.bin'), 8);
    await fails(() => files.read(150, 10), 'BAD_DATA', /1\.bin became shorter/);
    await files.dispose();
    await files.dispose();
    await fails(() => files.read(0, 1), 'DISPOSED', /after it was disposed/);
    const missing = [
      { path: join(folder, '0.bin'), tokens: 100 },
      { path: join(folder, 'none.bin'), tokens: 1 },
    ];
    await fails(() => FileTokens.open(missing, 4, 1), 'FILE_NOT_FOUND', /none\.bin/);
  });
});

if (existsSync(CORPORA)) {
  test('real text comes back as it was, with about a twentieth of it held out', async () => {
    for (const [name, documents, unit] of [
      ['code_python.txt', 'file', 'piece'],
      ['math.txt', 'paragraph', 'document'],
      ['multilingual', 'file', 'piece'],
    ] as const) {
      await inFolder({}, async (folder) => {
        const tokenizer = new ByteTokenizer();
        const paths = [join(CORPORA, name)];
        const domain = await prepare(folder, tokenizer, { paths, documents });
        assert.is(domain.split.unit, unit);
        const { train, heldOut } = await textsOf(domain, tokenizer);
        const sources = (await collect(readDocuments(paths, { documents }))).map(({ text }) => text);
        const size = (texts: string[]) => texts.reduce((sum, text) => sum + text.length, 0);
        assert.is(size(train) + size(heldOut), size(sources));
        const share = size(heldOut) / size(sources);
        assert.ok(share > 0.02 && share < 0.1, `${name}: ${share} held out`);
        const everything = sources.join('\0');
        assert.ok([...train, ...heldOut].every((text) => everything.includes(text)));
        const trained = new Set(train.map((text) => text.trim()));
        if (unit === 'document') assert.not(heldOut.some((text) => trained.has(text.trim())));
      });
    }
  });
} else {
  console.log('skipped: real text (shared/data/corpora is not here)');
}

test.run();
