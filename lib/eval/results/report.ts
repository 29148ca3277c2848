import { join } from 'node:path';
import { z } from 'zod';
import { check } from '../../base/check.js';
import { BtsError } from '../../base/errors.js';
import { readJson } from '../../base/file.js';
import { overwrite } from '../../base/overwrite.js';
import { Placement } from '../../checkpoint/stitch-manifest.js';

/** A number over documents; what the fields mean is at `ColumnResult` and `TaskResult`. */
const Measured = z.object({
  value: z.number(),
  standardError: z.number().nullable(),
  higherIsBetter: z.boolean(),
  scale: z.number(),
});

/** What the stitches of a model gave its members in its answers, by benchmark and stitch; the fields are those of `TaskGates`. */
const ReportedGates = z.object({
  members: z.array(z.string()),
  means: z.array(
    z.object({
      task: z.string(),
      stitch: Placement,
      gates: z.array(z.number()),
      entropy: z.number(),
      saturation: z.object({ low: z.array(z.number()), high: z.array(z.number()) }),
      unheard: z.array(z.string()),
      tokens: z.number(),
    }),
  ),
});
export type ReportedGates = z.output<typeof ReportedGates>;

const ModelReport = z.object({
  model: z.string(),
  /** Where its samples lie, below the report's folder; absent where none were kept. */
  samples: z.string().optional(),
  columns: z.array(Measured.extend({ name: z.string(), metric: z.string(), documents: z.number() })),
  tasks: z.array(
    z.object({
      task: z.string(),
      version: z.number(),
      shots: z.number(),
      documents: z.number(),
      cut: z.number(),
      metrics: z.array(Measured.extend({ key: z.string() })),
    }),
  ),
  /** Where they were asked for. */
  gates: ReportedGates.optional(),
});
export type ModelReport = z.output<typeof ModelReport>;

const Report = z.object({
  formatVersion: z.literal(1),
  limit: z.number().nullable(),
  seed: z.number(),
  models: z.array(ModelReport),
});
/** What an evaluation of several models found. */
export type Report = z.output<typeof Report>;

/** The report in a folder. Throws FILE_NOT_FOUND, FILE_IO, BAD_DATA. */
export async function readReport(folder: string): Promise<Report> {
  const path = join(folder, 'results.json');
  const fail = (reason: string) => new BtsError('BAD_DATA', `'${path}' is no report of 'bts eval': ${reason}.`);
  return check(Report, await readJson(path, 'BAD_DATA'), fail);
}

/** Writes a folder's `results.json`, into place at once: there is always a whole report. Throws FILE_IO. */
export function writeReport(folder: string, report: Report): Promise<void> {
  return overwrite(join(folder, 'results.json'), `${JSON.stringify(report, null, 2)}\n`);
}

/** A report as comma-separated values: one line a model, one column a benchmark, scaled as in tables. */
export function toCsv({ models }: Report): string {
  const names = models[0]?.columns.map(({ name }) => name) ?? [];
  const lines = [
    ['model', ...names.flatMap((name) => [name, `${name}_stderr`])],
    ...models.map(({ model, columns }) => [
      model,
      ...columns.flatMap(({ value, standardError, scale }) => [
        `${value * scale}`,
        standardError === null ? '' : `${standardError * scale}`,
      ]),
    ]),
  ];
  return lines.map((fields) => fields.map(csvField).join(',')).join('\n');
}

function csvField(text: string): string {
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
