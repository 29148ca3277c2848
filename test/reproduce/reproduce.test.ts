/** `bts reproduce`: a table from one file. */
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import type { ColumnResult } from '../../lib/eval/results/columns.js';
import { SYSTEMS } from '../../lib/model/systems.js';
import { planReproduction } from '../../lib/reproduce/commands.js';
import { Reproduction } from '../../lib/reproduce/config.js';
import { renderCurves } from '../../lib/reproduce/curves.js';
import { type RowResult, reportTable } from '../../lib/reproduce/report.js';
import { severalAtATime } from '../../lib/reproduce/several.js';
import { callCli, runCli, writeProject } from '../support/cli.js';
import { inTemporaryFolder } from '../support/models.js';
import { expectApart, expectInside, readSvg } from '../support/svg.js';

const bench = (name: string) => fileURLToPath(new URL(`../../bench/reproduce/${name}`, import.meta.url));

for (const name of ['smoke.yaml', 'full.yaml']) {
  test(`${name} has every system and ablation of the paper, each a command of its own`, async () => {
    const config = Reproduction.parse(parse(await readFile(bench(name), 'utf8')));
    const domains = { prose: ['p.txt'], code: ['c1.txt', 'c2.txt'], languages: ['l.txt'], math: ['m.txt'] };
    const [plan, ...none] = planReproduction(config, domains, '/runs');
    assert.is(none.length, 0);
    const models = plan!.stages.flat();
    assert.is(new Set(models.map(({ folder }) => folder)).size, models.length);
    const repeats = config.rows.reduce((sum, row) => sum + row.repeats - 1, 0);
    assert.is(new Set(models.map(({ title }) => title)).size, models.length - repeats);
    const systems = new Set(['seed', ...config.rows.map(({ system }) => system)]);
    assert.equal([...systems].sort(), [...SYSTEMS].sort());
    const commands = models.map(({ args }) => args.join(' '));
    assert.equal(
      commands.slice(0, 4).map((command) => command.split(' ')[0]),
      ['train', 'train', 'train', 'train'],
    );
    const ablations = commands.flatMap((command) => /--ablate (\S+)/.exec(command)?.[1] ?? []);
    assert.is(ablations.length, 10);
    assert.ok(
      commands.filter((command) => command.includes('--expert')).every((command) => command.includes('c1.txt,c2.txt')),
    );
    // The same text in the same order, for as many steps; repeats have an order of their own.
    const merged = commands.slice(4).filter((command) => command.includes('--steps'));
    const of = (option: string) => merged.map((command) => new RegExp(`--${option} (\\d+)`).exec(command)![1]);
    assert.is(new Set(of('steps')).size, 1);
    assert.is(of('seed').filter((seed) => seed !== '1').length, repeats);
  });
}

const loss = (domain: string, value: number) => ({ domain, loss: value, perplexity: Math.exp(value), tokens: 10 });
const score = (name: string, value: number): ColumnResult => ({
  ...{ name, value, metric: 'acc,none', standardError: 0.1, higherIsBetter: true, scale: 100, documents: 10 },
});
const row = (title: string, code: number, prose: number, switching: number, ...accuracies: number[]): RowResult => ({
  ...{ title, seed: 1, seconds: null, losses: [loss('code', code), loss('prose', prose)] },
  switching: loss('switching', switching),
  scores: accuracies.map((value, i) => score(['sums', 'words'][i]!, value)),
});
const cellsOf = (table: string) =>
  table.split('\n').map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );

test('the table has losses and scores, the mean of repeats and how far they spread', () => {
  const results = [row('Seed', 3, 2, 3, 0.25, 0.5), row('BTS', 2, 1, 2, 0.4, 1), row('BTS', 2.5, 1, 2.5, 0.6, 1)];
  const chances = [
    { task: 'sums', value: 0.25 },
    { task: 'words', value: 0.5 },
  ];
  const cells = cellsOf(reportTable(results, { chances, markdown: true }));
  const head = ['system', 'code', 'prose', 'mean', '±', 'switching', '±', 'sums %', 'words %', 'mean %', '±'];
  assert.equal(cells[0], head);
  assert.equal(cells[2], ['Seed', '3.000', '2.000', '2.500', '-', '3.000', '-', '25.0', '50.0', '37.5', '-']);
  const best = ['**2.250**', '**1.000**', '**1.625**', '0.125', '**2.250**', '0.250'];
  assert.equal(cells[3], ['BTS', ...best, '**50.0**', '**100.0**', '**75.0**', '5.0']);
  assert.equal(cells[4], ['Guessing', ...new Array(6).fill('-'), '25.0', '50.0', '37.5', '-']);
  assert.not.match(reportTable(results.slice(0, 2)), /±|Guessing/);
});

test('work is done several at a time, in order; where one fails the others are told to stop', async () => {
  let now = 0;
  let most = 0;
  const work = async (n: number) => {
    most = Math.max(most, ++now);
    await setTimeout(n);
    now--;
    return n;
  };
  const never = new AbortController().signal;
  assert.equal(await severalAtATime([30, 10, 20, 1, 2], 2, work, never), [30, 10, 20, 1, 2]);
  assert.is(most, 2);

  const began: number[] = [];
  const stopped: number[] = [];
  const failing = async (n: number, signal: AbortSignal) => {
    began.push(n);
    if (n === 1) throw new Error('no luck');
    await setTimeout(5000, undefined, { signal }).catch(() => stopped.push(n));
  };
  const error = await severalAtATime([0, 1, 2], 2, failing, never).catch((thrown: Error) => thrown.message);
  assert.is(error, 'no luck');
  assert.equal([began, stopped], [[0, 1], [0]]);
});

test('curves are drawn within the picture, the best first', async () => {
  const svg = await renderCurves('Loss <of all>', [
    {
      title: 'A & B',
      points: [
        { x: 0, y: 3 },
        { x: 2000, y: 2 },
      ],
    },
    {
      title: 'C',
      points: [
        { x: 0, y: 3 },
        { x: 1000, y: 2.5 },
        { x: 2000, y: 1 },
      ],
    },
    { title: 'a single point', points: [{ x: 0, y: 3 }] },
  ]);
  const picture = readSvg(svg);
  const texts = picture.texts.map(({ text }) => text);
  assert.ok(texts.includes('Loss <of all>'));
  const names = texts.filter((text) => /^(A & B|C|a single point)/.test(text));
  assert.equal(names, ['C 1.000', 'A & B 2.000']);
  expectInside(picture);
  assert.equal(
    picture.lines.map(({ points }) => points),
    [3, 2],
  );
  assert.not.match(svg, /NaN|undefined/);
});

test('a file that is wrong says where', async () => {
  await inTemporaryFolder(async (folder) => {
    const file = join(folder, 'table.yaml');
    const fails = async (text: string, message: RegExp) => {
      await writeFile(file, text);
      const { error } = await callCli('reproduce', file, '--out', join(folder, 'out'));
      assert.is(error?.code, 'BAD_OPTION');
      assert.match(error?.message ?? '', message);
    };
    await fails('rows: [', /table.yaml'/);
    const good = await readFile(bench('smoke.yaml'), 'utf8');
    await fails(good.replace('system: soup', 'system: stew'), /table.yaml': rows.*system/);
    await fails(`${good}\ndomains: { code: c.txt }`, /general: 'prose' must be one of several domains; there are code/);
  });
});

test('the files that come with the package are found from any folder', async () => {
  await inTemporaryFolder(async (folder) => {
    const args = ['reproduce', 'bench/reproduce/smoke.yaml', '--out', join(folder, 'out'), '--commands'];
    const { code, stdout, stderr } = await runCli(args, { cwd: folder });
    assert.is(code, 0, stderr);
    assert.match(stdout, /^bts train .*\n(bts .*\n)+$/);
    const none = await runCli(['reproduce', 'bench/reproduce/none.yaml', '--out', 'out'], { cwd: folder });
    assert.match(none.stderr, "FILE_NOT_FOUND: reading: 'bench/reproduce/none.yaml' does not exist");
    const { files } = JSON.parse(await readFile(bench('../../package.json'), 'utf8'));
    assert.ok(files.includes('bench/reproduce'), 'and are published');
  });
});

test('a table is made from one file, and what is there is not made again', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const file = join(folder, 'table.json');
    const config = {
      general: 'math',
      domains: { math: join(folder, 'math.txt'), code: join(folder, 'code.txt') },
      model: { width: 16, layers: 2, heads: 2, keyValueHeads: 1, feedForwardWidth: 24, vocabulary: 257 },
      ...{ sequenceLength: 32, batchSize: 2, stitches: 2, evaluateTokens: 200, evaluations: 2 },
      seed: { steps: 4, learningRate: 1e-2 },
      expert: { steps: 2, learningRate: 1e-2 },
      merge: { steps: 4, learningRate: 1e-2 },
      rows: [{ system: 'soup' }, { system: 'btm' }, { system: 'bts', repeats: 2 }, { system: 'bts', expertRank: 4 }],
      tasks: [join(folder, 'letters.json')],
      prompts: { code: 'def f(', math: '2 + 2 =' },
    };
    const task = { task: 'letters', data: 'letters.jsonl', output_type: 'multiple_choice', doc_to_text: 'prompt' };
    const choices = { doc_to_choice: 'choices', doc_to_target: 'label' };
    await writeFile(join(folder, 'letters.json'), JSON.stringify({ ...task, ...choices }));
    await writeFile(join(folder, 'letters.jsonl'), '{"prompt": "a b", "choices": ["c", "dd"], "label": 0}\n'.repeat(3));
    await writeFile(file, JSON.stringify(config));
    const out = join(folder, 'out');
    const make = () => callCli('reproduce', file, '--out', out, '--threads', '1', '--jobs', '2', '--json');
    const first = await make();
    assert.is(first.error, undefined, first.error?.message);
    const { rows, chances } = JSON.parse(first.stdout);
    assert.equal(chances, [{ task: 'letters', value: 0.5 }]);
    assert.equal(
      rows.map(({ title }: { title: string }) => title),
      [...['Seed', 'Expert code', 'Expert code, rank 4', 'Model Soup', 'BTM', 'BTS', 'BTS', 'BTS, experts of rank 4']],
    );
    const { members } = JSON.parse(await readFile(join(out, 'seed-1', 'bts-experts-of-rank-4', 'bts.json'), 'utf8'));
    assert.match(members[1].path, /experts-code-rank-4$/);
    assert.match(await readFile(join(out, 'table.md'), 'utf8'), /^\| BTS +\|/m);
    const drawn = async (name: string) => {
      const picture = readSvg(await readFile(join(out, name), 'utf8'));
      expectInside(picture);
      expectApart(picture);
      return picture.texts.map(({ text }) => text);
    };
    const map = await drawn('gates.svg');
    assert.ok(['after layer', '2', 'Mean gates of bts'].every((text) => map.includes(text)));
    const byToken = await drawn('token-gates.svg');
    assert.ok(['code', 'math', 'Answer'].every((text) => byToken.includes(text)));
    const byTask = await drawn('task-gates.svg');
    assert.ok(byTask.includes('letters') && byTask.some((text) => /^\d+ tokens$/.test(text)));
    const switching = await drawn('switching-gates.svg');
    assert.ok(['Gates of bts on a text that switches', 'code', 'math'].every((text) => switching.includes(text)));
    assert.match(await readFile(join(out, 'curves.svg'), 'utf8'), /BTS \d/);

    const stitches = join(out, 'seed-1', 'bts', 'stitch.safetensors');
    const { mtimeMs } = await stat(stitches);
    await rm(join(out, 'seed-1', 'results', 'bts.json'));
    await rm(join(out, 'seed-1', 'model-soup'), { recursive: true });
    const second = await make();
    assert.equal(
      JSON.parse(second.stdout).rows.map(({ losses }: { losses: unknown }) => losses),
      rows.map(({ losses }: { losses: unknown }) => losses),
    );
    assert.is((await stat(stitches)).mtimeMs, mtimeMs);
  });
});

test.run();
