import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type QuickstartEvent, type QuickstartOptions, quickstart } from '../../lib/quickstart/run.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder } from '../support/models.js';

/** Two tiny domains: sentences, and lines of code. */
async function writeDomains(root: string): Promise<Record<string, string[]>> {
  const lines = (make: (i: number) => string) => Array.from({ length: 900 }, (_, i) => make(i)).join('\n');
  await writeFile(
    join(root, 'prose.txt'),
    lines((i) => `The ${i % 7}th house stands by the ${i % 5}th river, and so on.`),
  );
  await writeFile(
    join(root, 'code.txt'),
    lines((i) => `function f${i}(x) { return x * ${i % 13} + ${i % 3}; }`),
  );
  return { prose: [join(root, 'prose.txt')], code: [join(root, 'code.txt')] };
}

async function run(options: QuickstartOptions, watch: (event: QuickstartEvent) => void = () => {}) {
  using device = openCpu();
  const events: QuickstartEvent[] = [];
  for await (const event of quickstart(device, options)) {
    events.push(event);
    watch(event);
  }
  return events;
}

const names = (events: QuickstartEvent[], type: 'phase' | 'kept') =>
  events.flatMap((event) => (event.type === type ? [event.name] : []));

test('the quickstart trains, branches, stitches and compares; stopped, it goes on where it was', async () => {
  await inTemporaryFolder(async (root) => {
    const options = { folder: join(root, 'out'), domains: await writeDomains(root), seed: 1, effort: 0.02 };
    const controller = new AbortController();
    const first = await run({ ...options, signal: controller.signal }, (event) => {
      if (event.type === 'train' && event.name === 'experts/code' && event.event.type === 'step') controller.abort();
    });
    assert.equal(names(first, 'phase'), ['seed', 'experts/code']);
    assert.equal(first.at(-1), { type: 'stopped', name: 'experts/code' });

    const second = await run(options);
    assert.equal(names(second, 'kept'), ['seed']);
    assert.equal(names(second, 'phase'), ['experts/code', 'generalist']);
    const result = second.find((event) => event.type === 'result')!;
    assert.equal(
      result.rows.map(({ model, losses }) => [model, losses.map(({ domain }) => domain)]),
      ['seed', 'code', 'generalist'].map((model) => [model, ['prose', 'code']]),
    );
    assert.ok(result.rows.every(({ losses }) => losses.every(({ loss }) => loss > 0 && loss < 9)));
    assert.is(second.filter((event) => event.type === 'sample').length, 2);
    const manifest = JSON.parse(await readFile(join(root, 'out', 'generalist', 'bts.json'), 'utf8'));
    assert.equal(
      manifest.members.map(({ path }: { path: string }) => path),
      ['../seed', '../experts/code'],
    );
  });
});

test.run();
