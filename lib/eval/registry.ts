import { BtsError } from '../base/errors.js';
import { didYouMean } from '../base/suggest.js';
import type { Group, Task } from './task.js';
import * as bbh from './tasks/bbh.js';
import * as flores from './tasks/flores.js';
import * as gsm8k from './tasks/gsm8k.js';
import * as humaneval from './tasks/humaneval.js';
import * as math from './tasks/math.js';
import * as mbpp from './tasks/mbpp.js';
import * as mgsm from './tasks/mgsm.js';
import * as mmlu from './tasks/mmlu.js';
import * as triviaqa from './tasks/triviaqa.js';

/** All tasks that come with the package. */
export const TASKS: readonly Task[] = [mmlu, bbh, mbpp, humaneval, flores, gsm8k, math, mgsm, triviaqa].flatMap(
  ({ tasks }) => tasks,
);

/** All groups of benchmarks. */
export const GROUPS: readonly Group[] = [mmlu, bbh, flores, math, mgsm].flatMap(({ groups }) => groups);

/** The columns of the paper's table 2, in its order. */
export const PAPER = [
  'mmlu',
  'mbpp',
  'humaneval',
  'flores_s',
  'flores_t',
  'bbh',
  'gsm8k',
  'minerva_math',
  'mgsm_native_cot_ru',
  'triviaqa',
];

/** What one column of a table is about: a task, or a group and its tasks. */
export interface Column {
  /** As it was asked for. */
  name: string;
  /** Of a column that is the mean of several. */
  group?: Group;
  /** What it is the value of. */
  tasks: readonly Task[];
}

/**
 * The columns that names stand for: 'all' for the paper's, a group, a task, or with `*` all tasks of that form. `own` are
 * the user's tasks. Throws BAD_TASK for a name that is unknown, with those most like it.
 *
 * @param names as on the command line
 * @param own tasks of the user's, as `readOwnTask` reads them
 */
export function resolveTasks(names: readonly string[], own: readonly Task[] = []): Column[] {
  const byName = new Map([...TASKS, ...own].map((task) => [task.name, task]));
  const all = names.flatMap((name) => (name === 'all' ? PAPER : [name]));
  const columns = all.flatMap((name): Column[] => {
    const task = byName.get(name);
    if (task) return [{ name, tasks: [task] }];
    const group = GROUPS.find((candidate) => candidate.name === name);
    if (group) return [{ name, group, tasks: group.members.map((member) => byName.get(member)!) }];
    const matches = name.includes('*') ? [...byName.values()].filter((task) => fits(task.name, name)) : [];
    if (matches.length === 0) throw unknown(name, ['all', ...GROUPS.map((group) => group.name), ...byName.keys()]);
    return matches.map((match) => ({ name: match.name, tasks: [match] }));
  });
  return columns.filter(({ name }, i) => columns.findIndex((column) => column.name === name) === i);
}

function fits(name: string, pattern: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}

function unknown(name: string, known: readonly string[]): BtsError {
  return new BtsError('BAD_TASK', `there is no task '${name}'.${didYouMean(name, known)} 'bts eval --list' shows all.`);
}
