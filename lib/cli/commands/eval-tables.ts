import type { ColumnResult } from '../../eval/results/columns.js';
import type { ModelReport, Report } from '../../eval/results/report.js';
import { type Column, renderTable } from '../../terminal/table.js';

/** How results are printed. */
export interface OutputOptions {
  json?: boolean;
  markdown?: boolean;
  csv?: boolean;
}

const DIGITS = 1;

/** Scores of several models side by side, one row a model, the best of each column marked; of one model, one row a score. */
export function reportTable({ models }: Report, { markdown = false }: { markdown?: boolean } = {}): string {
  const style = { markdown, bold: process.stdout.isTTY && process.stdout.hasColors() };
  if (models.length === 1) return renderTable(models[0]!.columns, SCORE_COLUMNS, style);
  const columns: Column<ModelReport>[] = [
    { title: 'model', value: ({ model }) => model },
    ...models[0]!.columns.map(({ name, higherIsBetter }) => ({
      title: name,
      value: (row: ModelReport) => scaled(row.columns.find((column) => column.name === name)),
      digits: DIGITS,
      best: higherIsBetter ? ('highest' as const) : ('lowest' as const),
    })),
  ];
  return renderTable(models, columns, style);
}

type Score = Pick<ColumnResult, 'value' | 'scale'> | undefined;
const scaled = (score: Score) => score && score.value * score.scale;

const SCORE_COLUMNS: Column<ColumnResult>[] = [
  { title: 'benchmark', value: ({ name }) => name },
  { title: 'metric', value: ({ metric }) => metric },
  { title: 'score', value: scaled, digits: DIGITS },
  {
    title: 'std. error',
    value: ({ standardError, scale }) => (standardError === null ? null : standardError * scale),
    digits: DIGITS,
  },
  { title: 'documents', value: ({ documents }) => documents },
];
