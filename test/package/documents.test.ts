/** What READMEs refer to is there: files, and scripts of package.json. README.md's own commands are run by readme.test.ts. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], { cwd: root })
  .toString()
  .trim()
  .split('\n');
const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));

for (const document of documents) {
  test(`${document} refers to what is there`, async () => {
    const text = await readFile(join(root, document), 'utf8');
    for (const [, target] of text.matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      assert.ok(existsSync(join(root, dirname(document), target!)), `it links to ${target}`);
    }
    for (const [, script] of text.matchAll(/\bnpm run ([a-z][\w:-]*\w)/g))
      assert.ok(scripts[script!], `there is no 'npm run ${script}'`);
  });
}

test.run();
