import type { Fail } from './check.js';

/** A pointer is some 130 bytes: this line, an object id and a size. */
const LFS_POINTER = 'version https://git-lfs.github.com/spec/';

/** What is wrong with a file that Git LFS left on its server, from its first bytes; undefined for the file itself. */
export function describeLfsPointer(start: Uint8Array): string | undefined {
  const text = Buffer.from(start.buffer, start.byteOffset, Math.min(start.length, 1024)).toString('latin1');
  if (!text.startsWith(LFS_POINTER)) return undefined;
  const bytes = /^size (\d+)$/m.exec(text)?.[1];
  const size = bytes === undefined ? '' : ` of ${bytes} bytes`;
  return `is a Git LFS pointer, and the file${size} that it stands for is not here. Run 'git lfs pull' in its folder, or download the file`;
}

/**
 * The value of a JSON file of a checkpoint, in UTF-8. Python writes NaN, Infinity and -Infinity, which JSON lacks: they
 * are read as what they are. Throws through `fail`, whose reasons begin with 'is', where it is not JSON, or is a Git LFS
 * pointer.
 */
export function parseJson(bytes: Uint8Array, fail: Fail): unknown {
  const pointer = describeLfsPointer(bytes);
  if (pointer) throw fail(pointer);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    throw fail(`is not valid JSON in UTF-8: ${(error as Error).message}`);
  }
  try {
    return parseJsonText(text);
  } catch (error) {
    throw fail(`is not valid JSON: ${(error as Error).message}`);
  }
}

/** As `JSON.parse`, but for the NaN, Infinity and -Infinity that Python writes. Throws SyntaxError. */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const value = parsePythonJson(text);
    if (value === undefined) throw error;
    return value;
  }
}

/** A string that no file holds by chance; `JSON.parse` can make NaN of it alone. */
const NOT_A_NUMBER = '\u0000NaN';
const STRING_OR_NAME = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\bInfinity\b|\bNaN\b/gs;

function parsePythonJson(text: string): unknown {
  const numbers: Record<string, string> = {
    NaN: JSON.stringify(NOT_A_NUMBER),
    Infinity: '1e999',
    '-Infinity': '-1e999',
  };
  if (!/NaN|Infinity/.test(text)) return undefined;
  try {
    const json = text.replace(STRING_OR_NAME, (part) => numbers[part] ?? part);
    return JSON.parse(json, (_, value) => (value === NOT_A_NUMBER ? Number.NaN : value));
  } catch {
    return undefined;
  }
}
