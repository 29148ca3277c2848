import { averageError, pooledError } from '../metrics/standard-error.js';
import type { Column } from '../registry.js';
import type { TaskResult } from '../run/run-task.js';

/** One model's number in one column of a table. */
export interface ColumnResult {
  /** The column's. */
  name: string;
  /** The metric of its tasks that it is of. */
  metric: string;
  /** The metric's mean over documents, of a group as the group says. */
  value: number;
  /** Of the value; null where it has none. */
  standardError: number | null;
  /** Whether more of it is better. */
  higherIsBetter: boolean;
  /** What tables multiply the value by: 100 for percent. */
  scale: number;
  /** How many were answered. */
  documents: number;
}

/** The number of a column: its task's first metric, or the mean over its group's tasks. Null without documents. */
export function columnResult(
  { name, group, tasks }: Column,
  results: ReadonlyMap<string, TaskResult>,
): ColumnResult | null {
  const parts = tasks.flatMap((task) => {
    const result = results.get(task.name)!;
    return result.documents > 0 ? [{ size: result.documents, ...result.metrics[0]! }] : [];
  });
  const [first] = parts;
  if (!first) return null;
  const documents = parts.reduce((sum, { size }) => sum + size, 0);
  const { key: metric, higherIsBetter, scale } = first;
  const common = { name, metric, higherIsBetter, scale, documents };
  if (!group) return { ...common, value: first.value, standardError: first.standardError };
  const weight = ({ size }: { size: number }) => (group.weightBySize ? size : 1);
  const total = parts.reduce((sum, part) => sum + weight(part), 0);
  const value = parts.reduce((sum, part) => sum + weight(part) * part.value, 0) / total;
  return { ...common, value, standardError: group.weightBySize ? pooledError(parts) : averageError(parts) };
}
