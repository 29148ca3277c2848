import type { Fail } from '../base/check.js';
import { pythonRegex } from './regex.js';

const compiled = new Map<string, RegExp>();

/** What `re.match` gives of a Python expression: the text and its groups. Throws what `fail` makes of one that cannot be used. */
export function pythonMatch(pattern: string, text: string, fail: Fail): string[] | undefined {
  let regex = compiled.get(pattern);
  try {
    regex ??= pythonRegex(`^(?:${pattern})`);
  } catch (error) {
    throw fail((error as Error).message.replace(/\.$/, ''));
  }
  if (compiled.size > 1000) compiled.clear();
  compiled.set(pattern, regex);
  regex.lastIndex = 0;
  return regex.exec(text)?.slice();
}
