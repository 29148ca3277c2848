import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { defaultCacheFolder } from '../../lib/cli/options/cache-folder.js';
import { fails, inFolder } from '../data/data-fixtures.js';

const NAME = 'branch-train-stitch';
const VARIABLES = ['HOME', 'XDG_CACHE_HOME', 'TMPDIR'] as const;
type Environment = Partial<Record<(typeof VARIABLES)[number], string>>;

/** The folder that is chosen with these variables alone, and what is said about it. */
async function chosen(environment: Environment): Promise<{ folder: string; said: string }> {
  const before = VARIABLES.map((name) => [name, process.env[name]] as const);
  const write = process.stderr.write;
  let said = '';
  process.stderr.write = (text: unknown) => {
    said += text;
    return true;
  };
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  };
  try {
    for (const name of VARIABLES) set(name, environment[name]);
    return { folder: await defaultCacheFolder(), said };
  } finally {
    process.stderr.write = write;
    for (const [name, value] of before) set(name, value);
  }
}

test('the cache lies in XDG_CACHE_HOME, else in the home folder', async () => {
  await inFolder({ 'home/x': '' }, async (folder) => {
    const [HOME, XDG_CACHE_HOME] = [join(folder, 'home'), join(folder, 'a/b')];
    assert.equal(await chosen({ HOME, XDG_CACHE_HOME }), { folder: join(XDG_CACHE_HOME, NAME), said: '' });
    for (const environment of [{ HOME }, { HOME, XDG_CACHE_HOME: '' }]) {
      assert.equal(await chosen(environment), { folder: join(HOME, '.cache', NAME), said: '' });
      assert.ok((await stat(join(HOME, '.cache', NAME))).isDirectory());
    }
  });
});

test('where there is no home folder that can be written, it is a temporary one, and what to do is said', async () => {
  await inFolder({ 'home/x': '', file: '' }, async (TMPDIR) => {
    const missing = join(TMPDIR, 'missing');
    for (const [environment, reason] of [
      [{ HOME: '' }, /^there is no home folder/],
      [{ HOME: '/' }, /^there is no home folder/],
      [{ HOME: 'relative' }, /^there is no home folder/],
      [{ HOME: missing }, /missing\/\.cache' cannot be written \(ENOENT\)/],
      [{ HOME: '/proc' }, /'\/proc\/\.cache' cannot be written/],
      [{ HOME: join(TMPDIR, 'file') }, /cannot be written \(ENOTDIR\)/],
      [{ HOME: join(TMPDIR, 'home'), XDG_CACHE_HOME: join(TMPDIR, 'file') }, /file' cannot be written/],
    ] as const) {
      const { folder, said } = await chosen({ ...environment, TMPDIR });
      assert.is(folder, join(TMPDIR, `${NAME}-${process.getuid!()}`));
      assert.match(said, reason);
      assert.match(said, /kept in '.*--cache or XDG_CACHE_HOME\.\n$/);
      assert.is((await stat(folder)).mode & 0o777, 0o700);
    }
    assert.not.ok((await readdir(TMPDIR)).includes('missing'), 'a home folder is not made');
  });
});

test('a temporary folder that others could have filled is not used', async () => {
  await inFolder({}, async (TMPDIR) => {
    const name = `${NAME}-${process.getuid!()}`;
    await mkdir(join(TMPDIR, name));
    await chmod(join(TMPDIR, name), 0o777);
    const { folder } = await chosen({ HOME: '/', TMPDIR });
    assert.ok(basename(folder).startsWith(`${name}-`));
  });
});

test('where nothing can be written the options are named', async () => {
  await fails(() => chosen({ HOME: '/', TMPDIR: '/proc' }), 'FILE_IO', /nowhere.*--cache or XDG_CACHE_HOME/);
});

test('a user whom the system does not know has a cache', async () => {
  if (process.getuid!() !== 0) {
    console.log('skipped: only root can become another user');
    return;
  }
  await inFolder({}, async (TMPDIR) => {
    await chmod(TMPDIR, 0o777);
    const url = new URL('../../lib/cli/options/cache-folder.ts', import.meta.url);
    const script = `const { defaultCacheFolder } = await import('${url}'); console.log(await defaultCacheFolder());`;
    const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;
    const { stdout, stderr } = spawnSync(process.execPath, ['--import', tsx, '--input-type=module', '-e', script], {
      encoding: 'utf8',
      uid: 54_321,
      gid: 54_321,
      env: { PATH: process.env.PATH, TMPDIR },
    });
    assert.is(stdout, `${join(TMPDIR, `${NAME}-54321`)}\n`, stderr);
    assert.match(stderr, /no home folder/);
  });
});

test.run();
