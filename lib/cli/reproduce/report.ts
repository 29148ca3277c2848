import { type HeldOutLoss, meanLoss } from '../../eval/held-out-loss.js';
import { type Column, renderTable } from '../table.js';

/** What one row of the table reached, with one seed of random choices. */
export interface RowResult {
  title: string;
  seed: number;
  losses: HeldOutLoss[];
  /** Of training or making it; null where that was not measured. */
  seconds: number | null;
}

interface Entry {
  title: string;
  /** By domain, then their mean: over seeds, and how far they spread (half of largest minus smallest). */
  cells: { mean: number; spread: number }[];
}

/** The table: held-out loss of every row by domain, mean over seeds, with their spread where there are several. */
export function reportTable(results: readonly RowResult[], { markdown = false } = {}): string {
  const titles = [...new Set(results.map(({ title }) => title))];
  const domains = results[0]!.losses.map(({ domain }) => domain);
  const entries: Entry[] = titles.map((title) => {
    const own = results.filter((result) => result.title === title);
    const columns = [
      ...domains.map((_, i) => own.map(({ losses }) => losses[i]!.loss)),
      own.map(({ losses }) => meanLoss(losses)),
    ];
    return { title, cells: columns.map(summary) };
  });
  const several = new Set(results.map(({ seed }) => seed)).size > 1;
  const column = (title: string, i: number): Column<Entry>[] => [
    { title, value: ({ cells }) => cells[i]!.mean, digits: 3, best: 'lowest' },
    ...(several ? [{ title: '±', value: ({ cells }: Entry) => cells[i]!.spread, digits: 3 }] : []),
  ];
  const columns: Column<Entry>[] = [{ title: 'system', value: ({ title }) => title }];
  for (const [i, title] of [...domains, 'mean'].entries()) columns.push(...column(title, i));
  return renderTable(entries, columns, { markdown });
}

function summary(values: readonly number[]): { mean: number; spread: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, spread: (Math.max(...values) - Math.min(...values)) / 2 };
}
