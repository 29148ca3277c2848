import { parse } from 'yaml';
import { check } from '../../base/check.js';
import { BtsError } from '../../base/errors.js';
import { readAt, withFile } from '../../base/file.js';
import { show } from '../../base/show.js';
import { fromPlain } from '../../python/plain.js';
import { Dict, type Value } from '../../python/values.js';
import { OwnTask } from './schema.js';

const MOST_BYTES = 1 << 20;

export interface TaskFile {
  task: OwnTask;
  /** The examples that the file itself holds, as Python has them. */
  samples: readonly Value[] | undefined;
}

/** Reads a task's file. Throws FILE_NOT_FOUND, FILE_IO; BAD_TASK naming the file and what is wrong in it. */
export async function readTaskFile(path: string): Promise<TaskFile> {
  const fail = (reason: string, cause?: unknown) => new BtsError('BAD_TASK', `'${path}': ${reason}`, { cause });
  const text = await withFile(path, async (file, bytes) => {
    if (bytes > MOST_BYTES) throw fail(`a task has at most ${MOST_BYTES} bytes, this one ${bytes}.`);
    return (await readAt(file, 0, bytes)).toString('utf8');
  });
  const called: string[] = [];
  const customTags = [{ tag: '!function', resolve: (name: string) => called.push(name) }];
  let content: unknown;
  let exact: Value;
  try {
    content = parse(text, { customTags });
    exact = fromPlain(parse(text, { customTags, intAsBigInt: true, mapAsMap: true }), (float) => float);
  } catch (error) {
    throw fail((error as Error).message.trim().split('\n')[0]!, error);
  }
  if (called.length > 0) {
    throw fail(
      `it has '!function ${called[0]}': functions in Python cannot run here. Say the same with templates, filters and ` +
        'metrics, or let Python write what it makes of the rows into the data file.',
    );
  }
  if (exact instanceof Dict && exact.has('include')) {
    const name = show(exact.get('include'));
    throw fail(`it has 'include: ${name}', which cannot be followed here. Copy what that file says into this one.`);
  }
  const task = check(OwnTask, content, (reason) => fail(`${reason}.`));
  const examples = exact instanceof Dict ? exact.get('fewshot_config') : undefined;
  const samples = examples instanceof Dict ? examples.get('samples') : undefined;
  return { task, samples: Array.isArray(samples) ? samples : undefined };
}
