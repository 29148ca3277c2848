/** The guide of errors (lib/base/README.md) knows every code and no other, and says how each comes out. */
import { readFile } from 'node:fs/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';
import { reportFailure } from '../../lib/cli/failure.js';
import { toFault } from '../../lib/serving/http/faults.js';

const read = (path: string) => readFile(new URL(`../../lib/${path}`, import.meta.url), 'utf8');

/** The members of a union of strings, which TypeScript keeps for itself. */
async function codesOf(type: string, path: string): Promise<string[]> {
  const [, union] = new RegExp(`type ${type} =([^;]*);`).exec(await read(path))!;
  const codes = [...union!.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code!);
  assert.ok(codes.length > 5);
  return codes;
}

const guide = await read('base/README.md');
const sections = [...guide.matchAll(/^### (.*)\n(.*)/gm)].map(([, code, line]) => ({ code: code!, line: line! }));
const codes = await codesOf('ErrorCode', 'base/errors.ts');

test('every code has a section, and every section a code', () => {
  assert.equal(sections.map(({ code }) => code).sort(), codes.sort());
});

test('what is said of exit and HTTP status is what comes out', () => {
  const write = process.stderr.write;
  process.stderr.write = () => true;
  try {
    for (const { code, line } of sections) {
      const error = new BtsError(code as ErrorCode, 'It went wrong.');
      const exit = Number(/^\*Exit (\d+)/.exec(line)?.[1] ?? 1);
      assert.is(exit, reportFailure(error, false), code);
      const status = Number(/^\*.*HTTP (\d+)/.exec(line)?.[1] ?? 500);
      assert.is(status, toFault(error).status, code);
    }
  } finally {
    process.stderr.write = write;
  }
});

test("a server's own codes are named", async () => {
  for (const code of await codesOf('HttpCode', 'serving/http/faults.ts'))
    assert.ok(guide.includes(`\`${code}\` (`), code);
});

test.run();
