import { type HeldOutLoss, meanLoss } from '../eval/held-out-loss.js';
import { SWITCHING } from '../eval/switching.js';
import { type Column, renderTable } from '../terminal/table.js';

/** What one model reached on each domain. */
export interface ModelLosses {
  model: string;
  losses: HeldOutLoss[];
  /** On sequences that switch from one domain to another. */
  switching?: HeldOutLoss;
}

/** One model's losses, one row a domain. */
export function domainTable(losses: readonly HeldOutLoss[]): string {
  return renderTable(losses, [
    { title: 'domain', value: (row) => row.domain },
    { title: 'held-out loss', value: (row) => row.loss, digits: 3 },
    { title: 'perplexity', value: (row) => row.perplexity, digits: 2 },
    { title: 'tokens', value: (row) => row.tokens },
  ]);
}

/** A column for each domain, and one for their mean where there are several. */
export function lossColumns<Row extends { losses: readonly HeldOutLoss[] }>(
  rows: readonly Row[],
  mark: Pick<Column<Row>, 'best'> = { best: 'lowest' },
): Column<Row>[] {
  const domains = rows[0]!.losses.map(({ domain }) => domain);
  const columns: Column<Row>[] = domains.map((title, i) => {
    return { title, value: ({ losses }) => losses[i]!.loss, digits: 3, ...mark };
  });
  if (domains.length > 1) columns.push({ title: 'mean', value: ({ losses }) => meanLoss(losses), digits: 3, ...mark });
  return columns;
}

/** Losses of several models side by side, one row a model, with the best of each column marked. */
export function lossTable(
  rows: readonly ModelLosses[],
  { markdown = false, perplexity = false, comparable = true } = {},
): string {
  const domains = rows[0]!.losses.map(({ domain }) => domain);
  const mark = comparable ? ({ best: 'lowest' } as const) : {};
  const columns: Column<ModelLosses>[] = [{ title: 'model', value: (row) => row.model }, ...lossColumns(rows, mark)];
  if (rows.some(({ switching }) => switching)) {
    columns.push({ title: SWITCHING, value: (row) => row.switching?.loss, digits: 3, ...mark });
  }
  if (perplexity) {
    columns.push(
      ...domains.map((domain, i) => ({
        title: domains.length > 1 ? `${domain} perplexity` : 'perplexity',
        value: (row: ModelLosses) => row.losses[i]!.perplexity,
        digits: 2,
        ...mark,
      })),
    );
  }
  return renderTable(rows, columns, { markdown, bold: process.stdout.isTTY && process.stdout.hasColors() });
}
