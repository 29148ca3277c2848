import { GROUPS, PAPER, TASKS } from '../../eval/registry.js';
import type { Task } from '../../eval/task.js';
import { print, printJson } from '../../terminal/output.js';
import { renderTable } from '../../terminal/table.js';
import { readColumns } from './eval-tasks.js';

const NAMES_SHOWN = 4;

/** Prints the tasks that names stand for, or all: name, version, source and prompt. */
export async function listTasks(names: string[] | undefined, { json = false }: { json?: boolean }): Promise<void> {
  const tasks = names ? (await readColumns(names)).flatMap((column) => column.tasks) : TASKS;
  if (json) {
    printJson(tasks.map(describe));
    return;
  }
  if (!names) print(`${groupTable()}\n`);
  print([...families(tasks).values()].map(familyText).join('\n\n'));
}

function describe({ name, version, source, follows, kind, shots, metrics, generation, prompt }: Task) {
  const stop = generation?.stop ?? [];
  return { name, version, source, follows, kind, shots, metrics: metrics.map(({ key }) => key), stop, prompt };
}

function groupTable(): string {
  return renderTable(
    [{ name: 'all', description: `the paper's table: ${PAPER.join(', ')}`, members: [] }, ...GROUPS],
    [
      { title: 'group', value: ({ name }) => name },
      { title: 'what it is', value: ({ description }) => description },
      { title: 'tasks', value: ({ members }) => members.length || null },
    ],
  );
}

/** Tasks that differ in their documents alone. */
function families(tasks: readonly Task[]): Map<string, Task[]> {
  const found = new Map<string, Task[]>();
  for (const task of tasks) {
    const key = JSON.stringify([task.follows, task.version, task.source]);
    found.set(key, [...(found.get(key) ?? []), task]);
  }
  return found;
}

function familyText(tasks: readonly Task[]): string {
  const [first] = tasks;
  const { version, source, follows, kind, shots, metrics, prompt } = first!;
  const names = tasks.map(({ name }) => name);
  const more = names.length > NAMES_SHOWN ? `, ... (${names.length})` : '';
  return [
    `${names.slice(0, NAMES_SHOWN).join(', ')}${more}`,
    `  version ${version}, ${shots} shots, ${kind}, scored by ${metrics.map(({ key }) => key).join(' and ')}`,
    `  source: ${source}`,
    `  follows ${follows}`,
    ...prompt.split('\n').map((line) => `  | ${line}`),
  ].join('\n');
}
