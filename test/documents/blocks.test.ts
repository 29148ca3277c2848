/**
 * Every fenced block of every document is run, in an empty folder into which the packed package was installed: commands in
 * their order, programs after they were compiled, files where their fence names them. What a session shows is what is printed,
 * but for numbers. A block of another kind, or a command without a rule in commands.ts, fails.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { follow, NotRun } from './commands.js';
import { type Block, commandsOf, guides, type Page } from './markdown.js';
import { Installation, Visit } from './visit.js';

const blocks = suite('blocks');
const faults = new Map<Block, unknown>();
/** What was not run, and why. */
const notes: string[] = [];
let place: string;
let compiled: unknown;

const KINDS: Record<string, (block: Block, visit: Visit) => Promise<void>> = {
  async sh({ text, line }, visit) {
    for (const command of commandsOf(text)) {
      try {
        await follow(command, visit);
      } catch (error) {
        if (!(error instanceof NotRun)) throw error;
        notes.push(`${visit.page.path}, line ${line}, '${command}': not run, ${error.message}`);
      }
    }
  },
  async console({ text }, visit) {
    for (const session of text.split(/^\$ /m).slice(1)) {
      const [command, ...shown] = session.split('\n');
      expectShown(shown, await follow(command!, visit));
    }
  },
  async ts({ file }, visit) {
    assert.match(file ?? '', /\.mts$/, 'a program has a name behind its fence');
    await visit.run(`node ${file!.replace('.mts', '.mjs')}`);
  },
  async js({ file, text }, visit) {
    assert.match(file ?? '', /\.mjs$/, 'a program has a name behind its fence');
    await writeFile(join(visit.folder, file!), text);
    await visit.run(`node ${file}`);
  },
  async yaml({ file, text }, visit) {
    assert.is(typeof parse(text), 'object');
    await writeFile(join(visit.folder, file!), text);
  },
  async json({ file, text }, visit) {
    for (const line of file!.endsWith('.jsonl') ? text.trim().split('\n') : [text]) JSON.parse(line);
    await writeFile(join(visit.folder, file!), text);
  },
};

/** Lines without what differs from run to run: numbers, the mark of the best, how wide columns are. */
const shape = (line: string) =>
  line
    .replace(/\d[\d.,:/%]*[kMG]?/g, '#')
    .replace(/\*|-{2,}/g, '')
    .replace(/\s+/g, ' ')
    .trim();

/** The lines shown were printed in this order; an ellipsis stands for any others. */
function expectShown(shown: readonly string[], printed: string): void {
  const lines = printed.split('\n').map(shape);
  let at = 0;
  for (const line of shown.map(shape).filter((line) => line !== '' && line !== '…')) {
    const found = lines.indexOf(line, at);
    assert.ok(found >= 0, `'${line}' was not printed in its place:\n${lines.join('\n')}`);
    at = found + 1;
  }
}

/** Compiles the programs of all guides where they belong, with the tsconfig.json that a guide gives. */
async function compile(installation: Installation): Promise<void> {
  const all = guides.flatMap((page) => page.blocks.map((block) => ({ page, block })));
  const settings = all.find(({ block }) => block.file === 'tsconfig.json')!.block;
  await writeFile(join(installation.folder, 'tsconfig.json'), settings.text);
  for (const { page, block } of all.filter(({ block: { language } }) => /^[jt]s$/.test(language))) {
    const folder = Visit.folderOf(installation, page);
    await mkdir(folder, { recursive: true });
    // Programs in JavaScript are held to the same types, under another name.
    await writeFile(join(folder, block.file!.replace(/\.mjs$/, '-checked.mts')), block.text);
  }
  await installation.run('tsc -p . --noUncheckedIndexedAccess --exactOptionalPropertyTypes');
}

async function visitAll(installation: Installation): Promise<void> {
  const waiting = [...guides];
  const lane = async () => {
    for (let page = waiting.shift(); page; page = waiting.shift()) await visit(installation, page);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, lane));
}

async function visit(installation: Installation, page: Page): Promise<void> {
  const visit = await Visit.begin(installation, page);
  for (const block of page.blocks) {
    try {
      const kind = KINDS[block.language];
      assert.ok(kind, `a block of kind '${block.language}' cannot be run; there are ${Object.keys(KINDS).join(', ')}`);
      await kind(block, visit);
    } catch (error) {
      faults.set(block, error);
    }
  }
  await visit.end();
}

blocks.before(async () => {
  place = await mkdtemp(join(tmpdir(), 'bts-documents-'));
  const installation = await Installation.create(place);
  if (!installation) {
    console.log('blocks of documents: skipped, npm reaches no registry');
    return;
  }
  const compiling = compile(installation).catch((error) => {
    compiled = error;
  });
  await Promise.all([compiling, installation.runQuickstart()]);
  await visitAll(installation);
  for (const note of notes.sort()) console.log(note);
});
blocks.after(() => rm(place, { recursive: true, force: true }));

blocks('programs compile, with strict checks and the types of the package checked, too', () => {
  if (compiled) throw compiled;
});

for (const { path, blocks: all } of guides) {
  for (const block of all) {
    blocks(`${path}, line ${block.line}`, () => {
      if (faults.has(block)) throw faults.get(block);
    });
  }
}

blocks.run();
