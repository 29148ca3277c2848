import { BtsError } from '../../base/errors.js';
import { readAt, withFile } from '../../base/file.js';
import { didYouMean } from '../../base/suggest.js';

const MOST_BYTES = 1 << 20;

/** The content of a YAML or JSON file, null where it is empty. Throws FILE_NOT_FOUND, FILE_IO; BAD_OPTION where it is malformed. */
export async function readYaml(path: string): Promise<unknown> {
  const fail = (reason: string, cause?: unknown) => new BtsError('BAD_OPTION', `'${path}': ${reason}`, { cause });
  const text = await withFile(path, async (file, bytes) => {
    if (bytes > MOST_BYTES) throw fail(`a file of options has at most ${MOST_BYTES} bytes, this one ${bytes}.`);
    return (await readAt(file, 0, bytes)).toString('utf8');
  });
  const { parse } = await import('yaml');
  try {
    return parse(text);
  } catch (error) {
    throw fail((error as Error).message.trim().split('\n')[0]!.replace(/:$/, '.'), error);
  }
}

/** The options in a file by their names in camel case, and how each is written there. */
export interface FileOptions {
  values: Record<string, unknown>;
  written: ReadonlyMap<string, string>;
}

/**
 * The options in a YAML or JSON file, which may be named as on the command line (`learning-rate`) or in the API
 * (`learningRate`). Paths in it mean what they mean on the command line: they start at the working directory.
 *
 * Throws FILE_NOT_FOUND, FILE_IO; BAD_OPTION where the file is malformed or has a key other than `names`.
 */
export async function readConfigFile(path: string, names: readonly string[]): Promise<FileOptions> {
  const fail = (reason: string) => new BtsError('BAD_OPTION', `'${path}': ${reason}`);
  const content = await readYaml(path);
  const values: Record<string, unknown> = {};
  const written = new Map<string, string>();
  if (content === null) return { values, written };
  if (typeof content !== 'object' || Array.isArray(content)) throw fail("expected options as 'name: value' lines.");

  for (const [key, value] of Object.entries(content)) {
    const name = camel(key);
    if (!names.includes(name)) {
      const known = /[A-Z]/.test(key) ? names : names.map(kebab);
      throw fail(`there is no option '${key}'.${didYouMean(key, known) || ` There are ${known.join(', ')}.`}`);
    }
    if (written.has(name)) throw fail(`'${key}' is given twice.`);
    values[name] = value;
    written.set(name, key);
  }
  return { values, written };
}

const camel = (key: string) => key.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** An option's name on the command line. */
export const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
