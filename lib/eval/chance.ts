import type { DataFolder } from './data/data-folder.js';
import type { Column } from './registry.js';

/** The share of a column's documents that guessing answers rightly: those with choices, by their number. */
export async function chanceOf({ tasks }: Column, data: DataFolder): Promise<number> {
  const chances: number[] = [];
  for (const task of tasks) {
    for (const doc of await task.documents(data))
      chances.push(task.kind === 'choices' ? 1 / task.choices!(doc).length : 0);
  }
  return chances.reduce((sum, chance) => sum + chance, 0) / chances.length;
}
