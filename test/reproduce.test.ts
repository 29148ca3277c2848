/** `bts reproduce`: a table from one file. */
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { planReproduction } from '../lib/cli/reproduce/commands.js';
import { Reproduction } from '../lib/cli/reproduce/config.js';
import { renderCurves } from '../lib/cli/reproduce/curves.js';
import { reportTable } from '../lib/cli/reproduce/report.js';
import { SYSTEMS } from '../lib/model/systems.js';
import { callCli, writeProject } from './support/cli.js';
import { inTemporaryFolder } from './support/models.js';

const bench = (name: string) => fileURLToPath(new URL(`../bench/reproduce/${name}`, import.meta.url));

for (const name of ['smoke.yaml', 'full.yaml']) {
  test(`${name} has every system and ablation of the paper, each a command of its own`, async () => {
    const config = Reproduction.parse(parse(await readFile(bench(name), 'utf8')));
    const domains = { prose: ['p.txt'], code: ['c1.txt', 'c2.txt'], languages: ['l.txt'], math: ['m.txt'] };
    const [plan, ...none] = planReproduction(config, domains, '/runs');
    assert.is(none.length, 0);
    const { models, rows } = plan!;
    assert.is(new Set(models.map(({ folder }) => folder)).size, models.length);
    assert.is(new Set(rows.map(({ title }) => title)).size, rows.length);
    const systems = new Set(['seed', ...config.rows.map(({ system }) => system)]);
    assert.equal([...systems].sort(), [...SYSTEMS].sort());
    const commands = models.map(({ args }) => args.join(' '));
    assert.equal(
      commands.slice(0, 4).map((command) => command.split(' ')[0]),
      ['train', 'train', 'train', 'train'],
    );
    const ablations = commands.flatMap((command) => /--ablate (\S+)/.exec(command)?.[1] ?? []);
    assert.is(ablations.length, 9);
    assert.ok(
      commands.filter((command) => command.includes('--expert')).every((command) => command.includes('c1.txt,c2.txt')),
    );
    // The same text in the same order, for as many steps.
    const merged = commands.slice(4).filter((command) => command.includes('--steps'));
    const shared = (command: string) => /--steps (\d+)/.exec(command)![0] + /--seed (\d+)/.exec(command)![0];
    assert.is(new Set(merged.map(shared)).size, 1);
  });
}

const losses = (...values: number[]) =>
  values.map((loss, i) => ({ domain: ['code', 'prose'][i]!, loss, perplexity: Math.exp(loss), tokens: 10 }));

test('the table shows the mean over seeds, and the spread where there are several', () => {
  const results = [
    { title: 'Seed', seed: 1, losses: losses(3, 2), seconds: 1 },
    { title: 'BTS', seed: 1, losses: losses(2, 1), seconds: null },
    { title: 'Seed', seed: 2, losses: losses(4, 2), seconds: 1 },
    { title: 'BTS', seed: 2, losses: losses(2.5, 1), seconds: null },
  ];
  const table = reportTable(results, { markdown: true }).split('\n');
  const cells = table.map((line) =>
    line
      .split('|')
      .map((cell) => cell.trim())
      .slice(1, -1),
  );
  assert.equal(cells[0], ['system', 'code', '±', 'prose', '±', 'mean', '±']);
  assert.equal(cells[2], ['Seed', '3.500', '0.500', '2.000', '0.000', '2.750', '0.250']);
  assert.equal(cells[3], ['BTS', '**2.250**', '0.250', '**1.000**', '0.000', '**1.625**', '0.125']);
  assert.not.match(reportTable(results.slice(0, 2)), /±/);
});

test('curves are drawn within their axes, the best first', () => {
  const svg = renderCurves('Loss <of all>', [
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
  assert.ok(svg.includes('Loss &#60;of all&#62;') && svg.includes('A &#38; B 2.000'));
  assert.ok(svg.indexOf('C 1.000') < svg.indexOf('A &#38; B'));
  const lines = [...svg.matchAll(/polyline points="([^"]+)"/g)].map(([, points]) => points!.split(' ').length);
  assert.equal(lines, [3, 2]);
  for (const [, points] of svg.matchAll(/polyline points="([^"]+)"/g)) {
    for (const [x, y] of points!.split(' ').map((point) => point.split(',').map(Number))) {
      assert.ok(x! >= 64 && x! <= 620 && y! >= 40 && y! <= 404, `${x}, ${y}`);
    }
  }
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
      rows: [{ system: 'soup' }, { system: 'bts' }],
    };
    await writeFile(file, JSON.stringify(config));
    const out = join(folder, 'out');
    const make = () => callCli('reproduce', file, '--out', out, '--threads', '1', '--json');
    const first = await make();
    assert.is(first.error, undefined, first.error?.message);
    const { rows } = JSON.parse(first.stdout);
    assert.equal(
      rows.map(({ title }: { title: string }) => title),
      ['Seed', 'Expert code', 'Model Soup', 'BTS'],
    );
    assert.match(await readFile(join(out, 'table.md'), 'utf8'), /^\| BTS +\|/m);
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
