import { createHash } from 'node:crypto';
import { appendFile, mkdir, readdir, readFile, rename, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import * as own from '../../lib/base/file-hash.js';
import { fails, inFolder } from '../data/data-fixtures.js';
import { bytesRead } from '../support/bytes-read.js';

const { hashFile, hashRegions } = own;
const hashes = suite('file hashes');

const BYTES = 3_000_000;
/** More than the rest of what is read: records, and the count. */
const FEW = 100_000;
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const content = (seed: number) => Uint8Array.from({ length: BYTES }, (_, i) => (i * seed) % 251);

const { XDG_CACHE_HOME } = process.env;
const { now } = Date;
hashes.after.each(() => {
  Date.now = now;
  if (XDG_CACHE_HOME === undefined) delete process.env.XDG_CACHE_HOME;
  else process.env.XDG_CACHE_HOME = XDG_CACHE_HOME;
});

/** Runs a test beside a cache of its own and a file that was written a while ago. */
const withOldFile = (test: (path: string, cache: string) => Promise<void>) => () =>
  inFolder({ model: content(7) }, async (folder) => {
    process.env.XDG_CACHE_HOME = join(folder, 'cache');
    Date.now = () => now() + 10_000;
    await test(join(folder, 'model'), join(folder, 'cache', 'branch-train-stitch', 'hashes'));
  });

let processes = 0;
/** The module as another process has it: what it knows lies on the disk. */
const elsewhere = async (): Promise<typeof own> => await import(`../../lib/base/file-hash.js?process=${++processes}`);

hashes(
  'a file is read once, by whichever process, and anew where that is asked for',
  withOldFile(async (path) => {
    const hash = sha256(content(7));
    const pass = await bytesRead(async () => assert.is(await hashFile(path), hash));
    assert.ok(pass >= BYTES && pass < BYTES + FEW, `${pass}`);
    assert.ok((await bytesRead(async () => assert.is(await hashFile(path), hash))) < FEW);
    const other = await elsewhere();
    assert.ok((await bytesRead(async () => assert.is(await other.hashFile(path), hash))) < FEW);
    const again = await bytesRead(async () => assert.is(await other.hashFile(path, { verify: true }), hash));
    assert.ok(again >= BYTES && again < BYTES + FEW, `${again}`);
  }),
);

hashes(
  'of regions only those are read that nobody has hashed',
  withOldFile(async (path) => {
    const bytes = content(7);
    const regions = [
      { offset: 0, bytes: 1_000_000 },
      { offset: 999_999, bytes: 0 },
      { offset: 1_000_000, bytes: 300_001 },
    ];
    const expected = regions.map((region) => sha256(bytes.subarray(region.offset, region.offset + region.bytes)));
    assert.equal(await hashRegions(path, regions), expected);
    const rest = { offset: 1_300_001 };
    const read = await bytesRead(async () => {
      const all = await (await elsewhere()).hashRegions(path, [...regions, rest]);
      assert.equal(all, [...expected, sha256(bytes.subarray(rest.offset))]);
    });
    assert.ok(read >= BYTES - rest.offset && read < BYTES - rest.offset + FEW, `${read}`);
    await fails(() => hashRegions(path, [{ offset: BYTES - 5, bytes: 6 }]), 'FILE_IO', /model' ends 1 bytes early/);
  }),
);

/** Each leaves all that is not named as it was. */
const CHANGES: Record<string, (path: string) => Promise<unknown>> = {
  size: (path) => truncate(path, BYTES - 1),
  'mtime and ctime': (path) => writeFile(path, content(11)),
  ctime: async (path) => {
    const { atime, mtime } = await stat(path);
    await writeFile(path, content(11));
    await utimes(path, atime, mtime);
  },
  inode: async (path) => {
    const { atime, mtime } = await stat(path);
    await writeFile(`${path}-new`, content(11));
    await utimes(`${path}-new`, atime, mtime);
    await rename(`${path}-new`, path);
  },
};
for (const [what, change] of Object.entries(CHANGES)) {
  hashes(
    `a file with another ${what} is hashed anew`,
    withOldFile(async (path) => {
      const before = await hashFile(path);
      await change(path);
      const after = sha256(await readFile(path));
      assert.is.not(after, before);
      assert.is(await hashFile(path), after);
      assert.is(await (await elsewhere()).hashFile(path), after);
    }),
  );
}

hashes('a file that was just written is not trusted: it could change and keep its times', () =>
  inFolder({ model: content(7) }, async (folder) => {
    process.env.XDG_CACHE_HOME = join(folder, 'cache');
    const path = join(folder, 'model');
    await hashFile(path);
    assert.ok((await bytesRead(() => hashFile(path))) >= BYTES);
    Date.now = () => now() + 10_000;
    await hashFile(path);
    assert.ok((await bytesRead(() => hashFile(path))) < FEW);
    // As files are that come from a machine whose clock goes ahead.
    await utimes(path, 1, now() / 1000 + 60);
    await hashFile(path);
    assert.ok((await bytesRead(() => hashFile(path))) >= BYTES);
  }),
);

hashes('a file that changes while it is hashed is not trusted', async () =>
  withOldFile(async (path) => {
    const regions = Array.from({ length: 100 }, (_, i) => ({ offset: i, bytes: BYTES - i - 1 }));
    const hashing = hashRegions(path, regions);
    await appendFile(path, 'x');
    await hashing;
    assert.ok((await bytesRead(() => hashFile(path))) >= BYTES);
  })(),
);

hashes(
  'what is recorded is believed, but for verify, which mends it',
  withOldFile(async (path, cache) => {
    const hash = await hashFile(path);
    const [name] = await readdir(cache);
    const record = await readFile(join(cache, name!), 'utf8');
    const wrong = 'f'.repeat(64);
    await writeFile(join(cache, name!), record.replace(hash, wrong));
    assert.is(await (await elsewhere()).hashFile(path), wrong);
    assert.is(await (await elsewhere()).hashFile(path, { verify: true }), hash);
    assert.is(await (await elsewhere()).hashFile(path), hash);
    assert.equal(await readdir(cache), [name]);
  }),
);

hashes(
  'records that are damaged, of another format or about another file are passed over',
  withOldFile(async (path, cache) => {
    const hash = await hashFile(path);
    const [name] = await readdir(cache);
    const record = await readFile(join(cache, name!), 'utf8');
    const damages = [
      '',
      record.slice(0, -9),
      'null',
      record.replace('"format":1', '"format":2'),
      record.replace(hash, 'f'.repeat(63)),
      record.replaceAll(hash, 'f'.repeat(64)).replace(/inode \d+/, 'inode 1'),
    ];
    for (const damage of damages) {
      await writeFile(join(cache, name!), damage);
      assert.is(await (await elsewhere()).hashFile(path), hash, damage);
      assert.is(await readFile(join(cache, name!), 'utf8'), record, damage);
    }
  }),
);

hashes('where nothing can be written a process reads once all the same', () =>
  inFolder({ model: content(7), file: '' }, async (folder) => {
    process.env.XDG_CACHE_HOME = join(folder, 'file');
    Date.now = () => now() + 10_000;
    const path = join(folder, 'model');
    await hashFile(path);
    assert.ok((await bytesRead(() => hashFile(path))) < FEW);
    assert.is(await (await elsewhere()).hashFile(path), sha256(content(7)));
  }),
);

hashes(
  'many that hash at once leave one whole record',
  withOldFile(async (path, cache) => {
    const others = await Promise.all(Array.from({ length: 8 }, elsewhere));
    const found = await Promise.all(others.map((other) => other.hashFile(path)));
    assert.equal(new Set(found), new Set([sha256(content(7))]));
    assert.is((await readdir(cache)).length, 1);
    assert.ok((await bytesRead(async () => (await elsewhere()).hashFile(path))) < FEW);
  }),
);

hashes(
  'hashing that is stopped records nothing',
  withOldFile(async (path, cache) => {
    await mkdir(cache, { recursive: true });
    const controller = new AbortController();
    const hashing = hashFile(path, { signal: controller.signal });
    setImmediate(() => controller.abort());
    await fails(() => hashing, 'ABORTED', /model' was stopped/);
    assert.equal(await readdir(cache), []);
  }),
);

hashes.run();
