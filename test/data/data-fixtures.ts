import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { BtsError, type ErrorCode } from '../../lib/base/errors.js';

/** Passes if `action` fails with an error of this code whose message matches. */
export async function fails(action: () => unknown, code: ErrorCode, message: RegExp): Promise<void> {
  let thrown: unknown;
  try {
    await action();
  } catch (error) {
    thrown = error;
  }
  assert.instance(thrown, BtsError, `expected ${code}, got ${thrown}`);
  assert.is((thrown as BtsError).code, code, (thrown as BtsError).message);
  assert.match((thrown as BtsError).message, message);
}

/** Runs `test` in a temporary folder that holds `files`. */
export async function inFolder(
  files: Record<string, string | Uint8Array>,
  test: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'bts-data-'));
  try {
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    await test(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** A tokenizer whose tokens are the UTF-8 bytes, and 256 for end-of-text. It counts its calls. */
export class ByteTokenizer {
  calls = 0;
  readonly eosToken = 256;

  constructor(
    readonly vocabularySize = 257,
    readonly hash = 'bytes',
  ) {}

  encode(text: string): number[] {
    this.calls++;
    return [...Buffer.from(text, 'utf8')];
  }

  /** The texts between end-of-text tokens. */
  texts(tokens: Int32Array): string[] {
    const texts: string[] = [];
    let start = 0;
    for (let end = tokens.indexOf(this.eosToken); end >= 0; end = tokens.indexOf(this.eosToken, start)) {
      texts.push(Buffer.from(Uint8Array.from(tokens.subarray(start, end))).toString('utf8'));
      start = end + 1;
    }
    assert.is(start, tokens.length, 'the last token is end-of-text');
    return texts;
  }
}
