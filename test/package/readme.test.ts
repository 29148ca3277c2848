/**
 * README is true: its commands and examples run as they stand, in an empty folder into which the packed package was installed.
 * What is not run so is listed here, with the reason.
 */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { shared } from '../support/devices.js';

const readme = suite('README');
const root = fileURLToPath(new URL('../..', import.meta.url));
const text = await readFile(join(root, 'README.md'), 'utf8');
const blocks = [...text.matchAll(/^```(\w+)\n(.*?)^```/gms)].map(([, language, code]) => ({ language, code: code! }));
const inline = [...text.replace(/^```.*?^```/gms, '').matchAll(/`([^`]+)`/g)].map(([, code]) =>
  code!.replace(/\s+/g, ' '),
);

/** Commands that are not run, and why. */
const NOT_RUN: Record<string, string> = {
  'npm install branch-train-stitch': 'it is installed before all else, from the tarball',
  'npm explore branch-train-stitch -- npm run build:native': 'it takes minutes; `npm run test:install` runs it',
};
/** What is made shorter. */
const SHORTER: [long: RegExp, short: string][] = [
  [/bts quickstart/, 'bts quickstart --effort 0.02'],
  [/--steps \d+/, '--steps 2'],
  [/--tasks all/, '--tasks all --limit 1'],
  [/^bts chat .*/, '$& --plain < /dev/null'],
  [/^bts reproduce .*/, '$& --commands'],
  [
    /^bts serve .*/,
    '$& --port 0 > served.txt & until grep -q http served.txt; do kill -0 $!; sleep 0.1; done; kill $!; wait $!',
  ],
];
/** Commands that sentences name in full; others say how a command begins. */
const IN_SENTENCES = [
  'bts doctor',
  'bts eval --list',
  'bts eval compare results',
  'bts flops',
  'bts gates generalist --domain code=src/ --svg gates.svg',
  'bts gates generalist --prompt "def f(" --html gates.html',
  'bts params',
  'bts reproduce bench/reproduce/smoke.yaml --out runs/smoke',
];

let folder: string;
let skipped: string | undefined;

/** Runs a shell command where the package is installed; its programs are on the path, as they are for npx. */
async function run(command: string): Promise<{ stdout: string; stderr: string }> {
  const path = `${join(folder, 'node_modules', '.bin')}${delimiter}${process.env.PATH}`;
  const env = { ...process.env, PATH: path, XDG_CACHE_HOME: join(folder, 'cache'), NO_COLOR: '1', FORCE_COLOR: '0' };
  return await promisify(execFile)('bash', ['-e', '-c', command], { cwd: folder, env, maxBuffer: 1 << 26 });
}

readme.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'bts-readme-'));
  await writeFile(join(folder, 'package.json'), '{ "name": "reader", "private": true, "type": "module" }\n');
  await promisify(execFile)('npm', ['run', 'build:ts'], { cwd: root });
  // Without what npm runs before it packs: that asks for the packages with binaries, which are compiled for releases.
  const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const { stdout } = await promisify(execFile)('npm', pack, { cwd: root });
  const [{ filename }] = JSON.parse(stdout) as [{ filename: string }];
  try {
    await run(`npm install --ignore-scripts --prefer-offline --no-audit --no-fund ./${filename}`);
  } catch (error) {
    if (!/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ECONNRESET|ENOTCACHED/.test(`${error}`)) throw error;
    skipped = 'npm reaches no registry';
    console.log(`README: skipped, ${skipped}`);
    return;
  }
  const installed = join(folder, 'node_modules', 'branch-train-stitch');
  // The addon is the one that the tests were given.
  await cp(join(root, 'build', 'Release'), join(installed, 'build', 'Release'), { recursive: true });
  for (const name of ['typescript', '@types', 'undici-types']) {
    await symlink(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
  await writeTexts();
  await makeModels();
});
readme.after(() => rm(folder, { recursive: true, force: true }));

/** The texts that README speaks of. */
async function writeTexts(): Promise<void> {
  const lines = (count: number, line: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => line(i)).join('\n');
  const files = {
    'books/novel.txt': lines(1500, (i) => `Chapter ${i}: it was a dark night, and ${i * 7} stars were out.\n`),
    'src/functions.py': lines(3000, (i) => `def f${i}(x): return x + ${i}`),
    'problems.jsonl': lines(2000, (i) => JSON.stringify({ text: `Problem: ${i} + ${i} = ? Answer: ${2 * i}` })),
    'test.jsonl': lines(3, (i) => JSON.stringify({ country: `Country ${i}`, capital: `City ${i}` })),
    'train.jsonl': lines(5, (i) => JSON.stringify({ country: `Land ${i}`, capital: `Town ${i}` })),
  };
  for (const name of ['books', 'src', 'corpora']) await mkdir(join(folder, name));
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  await cp(join(folder, 'src'), join(folder, 'corpora', 'code'), { recursive: true });
  await cp(join(folder, 'problems.jsonl'), join(folder, 'corpora', 'math.jsonl'));
}

/** The models that README speaks of. */
async function makeModels(): Promise<void> {
  const size = '--width 32 --layers 4 --heads 4 --train-tokenizer 320 --max-positions 512';
  await run(`bts train --domain prose=books/ ${size} --out seed --steps 2 --learning-rate 1e-3`);
  for (const [name, domain] of [
    ['solver', 'math=problems.jsonl'],
    ['lawyer', 'law=books/'],
    ['models/code', 'code=src/'],
  ]) {
    await run(`bts train --from seed --domain ${domain} --out ${name} --steps 2 --learning-rate 1e-3`);
  }
  await cp(join(folder, 'seed'), join(folder, 'models', 'seed'), { recursive: true });
  await cp(join(folder, 'solver'), join(folder, 'models', 'math'), { recursive: true });
  const benchmarks = shared('data/benchmarks');
  if (await stat(benchmarks).catch(() => undefined)) await symlink(benchmarks, join(folder, 'benchmarks'));
}

function check(name: string, body: () => Promise<void>): void {
  readme(name, async () => {
    if (skipped === undefined) await body();
  });
}

/** The commands of a block, without comments, lines that go on joined. */
function commandsOf(code: string): string[] {
  const lines = code.replace(/\\\n/g, ' ').split('\n');
  return lines
    .map((line) =>
      line
        .replace(/\s+#.*$/, '')
        .replace(/\s+/g, ' ')
        .trim(),
    )
    .filter((line) => line !== '');
}

const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ code }) => commandsOf(code));
for (const command of [...commands, ...IN_SENTENCES]) {
  check(command, async () => {
    if (command in NOT_RUN) return;
    const needsBenchmarks = /--data benchmarks|compare results/.test(command);
    if (needsBenchmarks && !(await stat(join(folder, 'benchmarks')).catch(() => undefined))) {
      console.log(`README, '${command}': skipped, there are no benchmarks in ../shared/data`);
      return;
    }
    await run(SHORTER.reduce((short, [long, instead]) => short.replace(long, instead), command));
  });
}

readme('what is listed here is in README, and the scripts that it names are in package.json', async () => {
  for (const command of Object.keys(NOT_RUN)) assert.ok(commands.includes(command), command);
  for (const command of IN_SENTENCES) assert.ok(inline.includes(command), command);
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const named = [...commands, ...inline].flatMap((code) =>
    [...code.matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!),
  );
  assert.ok(named.length > 5);
  for (const name of named) assert.ok(name in scripts, `npm run ${name}`);
});

check('the commands and options that sentences name exist', async () => {
  const known = new Map<string, string>();
  const named = inline.filter((code) => code.startsWith('bts '));
  assert.ok(named.length > 8);
  for (const code of named) {
    const [, name = ''] = code.split(' ');
    if (!known.has(name)) known.set(name, (await run(`bts ${name} --help`)).stdout);
    for (const choice of code.match(/\S+\|\S+/)?.[0].split('|') ?? []) assert.match(known.get(name)!, `"${choice}"`);
    for (const [option] of code.matchAll(/--[a-z][\w-]*/g))
      assert.match(known.get(name)!, new RegExp(`${option}\\b`), code);
  }
  for (const option of inline.filter((code) => /^--[a-z]/.test(code)).map((code) => code.split(' ')[0]!)) {
    const some = [...known.values(), (await run('bts stitch --help && bts eval --help && bts generate --help')).stdout];
    assert.ok(
      some.some((help) => help.includes(option)),
      option,
    );
  }
});

check('the task in YAML is a benchmark', async () => {
  const [task] = blocks.filter(({ language }) => language === 'yaml');
  await writeFile(join(folder, 'capitals.yaml'), task!.code);
  assert.match((await run('bts eval seed --tasks capitals.yaml')).stdout, /capitals/);
});

check(
  'the example in TypeScript is at most 20 lines long, compiles with the tsconfig.json given, and runs',
  async () => {
    const example = blocks.find(({ language }) => language === 'ts')!.code;
    const lines = example.split('\n').filter((line) => line.trim());
    assert.ok(lines.length <= 20, `${lines.length} lines`);
    await writeFile(join(folder, 'tsconfig.json'), blocks.find(({ language }) => language === 'json')!.code);
    await writeFile(join(folder, 'example.ts'), example);
    await run('node node_modules/typescript/bin/tsc -p .');
    assert.match((await run('node example.js')).stdout, 'perplexity');
    assert.match(await readFile(join(folder, 'models', 'generalist', 'bts.json'), 'utf8'), '"hub"');
  },
);

check('the example in JavaScript runs', async () => {
  await writeFile(join(folder, 'plain.js'), blocks.find(({ language }) => language === 'js')!.code);
  assert.match((await run('node plain.js')).stdout, /^\[ .+, .+ \]\n$/s);
});

readme('every block is of a kind that is looked at', () => {
  assert.equal([...new Set(blocks.map(({ language }) => language))].sort(), ['js', 'json', 'sh', 'ts', 'yaml']);
});

check('what links lead to is in the package', async () => {
  const installed = join(folder, 'node_modules', 'branch-train-stitch');
  const links = [...text.matchAll(/\]\(([^)#]+)\)/g)]
    .map(([, target]) => target!)
    .filter((target) => !target.includes(':'));
  assert.ok(links.length > 0);
  for (const target of links) assert.ok((await stat(join(installed, target))).isFile(), target);
  assert.ok((await readdir(installed)).includes('CHANGELOG.md'));
});

readme.run();
