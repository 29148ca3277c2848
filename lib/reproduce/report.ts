import { type HeldOutLoss, meanLoss } from '../eval/held-out-loss.js';
import type { ColumnResult } from '../eval/results/columns.js';
import { SWITCHING } from '../eval/switching.js';
import { type Column, renderTable } from '../terminal/table.js';

/** What one model of the table reached. */
export interface RowResult {
  title: string;
  /** Of all random choices. */
  seed: number;
  losses: HeldOutLoss[];
  switching: HeldOutLoss;
  scores: ColumnResult[];
  /** Of training or making it; null where that was not measured. */
  seconds: number | null;
}

/** What guessing gets in a task, as a fraction. */
export interface Chance {
  task: string;
  value: number;
}

/** One number of every row. */
interface Measure {
  title: string;
  value: (row: RowResult) => number;
  digits: number;
  best: 'lowest' | 'highest';
  guessed?: number;
  /** Whether the table says how far the rows of a title differ. */
  hasSpread?: boolean;
}

/**
 * The table: held-out loss of every row by domain, their mean, and on texts that switch; tasks' scores and their mean. Rows
 * of the same title are one, with their mean, and how far they spread (half of largest minus smallest) in the means.
 */
export function reportTable(
  results: readonly RowResult[],
  { chances = [], markdown = false }: { chances?: readonly Chance[]; markdown?: boolean } = {},
): string {
  const titles = [...new Set(results.map(({ title }) => title))];
  const groups = titles.map((title) => results.filter((result) => result.title === title));
  // The last row is what guessing gets.
  const rows: (RowResult[] | null)[] = chances.length > 0 ? [...groups, null] : groups;
  const columns: Column<RowResult[] | null>[] = [
    { title: 'system', value: (group) => (group ? group[0]!.title : 'Guessing') },
  ];
  for (const { title, value, digits, best, guessed, hasSpread } of measures(results[0]!, chances)) {
    columns.push({ title, value: (group) => (group ? mean(group.map(value)) : guessed), digits, best });
    if (!hasSpread || !groups.some(several)) continue;
    columns.push({ title: '±', value: (group) => (several(group) ? spread(group.map(value)) : null), digits });
  }
  return renderTable(rows, columns, { markdown });
}

function measures({ losses, scores }: RowResult, chances: readonly Chance[]): Measure[] {
  const loss = { digits: 3, best: 'lowest' } as const;
  const score = { digits: 1, best: 'highest' } as const;
  const guessed = chances.map(({ value }) => 100 * value);
  const scoreOf = ({ value, scale }: ColumnResult) => value * scale;
  const all: Measure[] = [
    ...losses.map(({ domain }, i) => ({ ...loss, title: domain, value: (row: RowResult) => row.losses[i]!.loss })),
    { ...loss, title: 'mean', value: (row) => meanLoss(row.losses), hasSpread: true },
    { ...loss, title: SWITCHING, value: (row) => row.switching.loss, hasSpread: true },
    ...scores.map(({ name }, i) => ({
      ...{ ...score, title: `${name} %`, guessed: guessed[i]! },
      value: (row: RowResult) => scoreOf(row.scores[i]!),
    })),
  ];
  if (scores.length > 1) {
    const value = (row: RowResult) => mean(row.scores.map(scoreOf));
    all.push({ ...score, title: 'mean %', value, guessed: mean(guessed), hasSpread: true });
  }
  return all;
}

const several = (group: RowResult[] | null): group is RowResult[] => group !== null && group.length > 1;
const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const spread = (values: readonly number[]) => (Math.max(...values) - Math.min(...values)) / 2;
