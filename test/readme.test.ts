import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCpu } from './support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from './support/models.js';

const root = fileURLToPath(new URL('..', import.meta.url));

test("README's example is at most 20 lines long and runs as it stands", async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8');
  const example = /```ts\n(.*?)```/s.exec(readme)![1]!;
  const lines = example.split('\n').filter((line) => line.trim());
  assert.ok(lines.length <= 20, `${lines.length} lines`);

  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    await mkdir(join(folder, 'models'));
    const config = { ...CONFIGS.llama, maxPositions: 128 };
    for (const [i, name] of ['seed', 'code', 'math'].entries()) {
      await writeModel(device, join(folder, 'models', name), { seed: i + 1, config });
    }
    await mkdir(join(folder, 'corpora', 'code'), { recursive: true });
    const source = Array.from({ length: 400 }, (_, i) => `def f${i}(x): return x + ${i}`).join('\n');
    await writeFile(join(folder, 'corpora', 'code', 'functions.py'), source);
    const problems = Array.from({ length: 200 }, (_, i) => JSON.stringify({ text: `${i} + ${i} = ${2 * i}` }));
    await writeFile(join(folder, 'corpora', 'math.jsonl'), problems.join('\n'));
    const entry = pathToFileURL(join(root, 'lib', 'index.ts')).href;
    await writeFile(join(folder, 'example.mts'), example.replace('branch-train-stitch', entry));

    const tsx = pathToFileURL(join(root, 'node_modules', 'tsx', 'dist', 'loader.mjs')).href;
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', tsx, 'example.mts'], { cwd: folder });
    assert.match(stdout, 'perplexity');
    assert.match(await readFile(join(folder, 'models', 'generalist', 'bts.json'), 'utf8'), '"hub"');
  });
});

test.run();
