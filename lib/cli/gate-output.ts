import { extname } from 'node:path';
import { BtsError } from '../base/errors.js';
import { overwrite } from '../base/overwrite.js';
import { renderGates } from '../gates/gate-map.js';
import { htmlPage } from '../gates/gate-page.js';
import { type MeanGates, subjectOf, type TaskGates } from '../gates/gate-sums.js';
import { meansCsv } from '../gates/tables.js';
import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { note } from '../terminal/output.js';
import { type Column, renderTable } from '../terminal/table.js';

/** What is known of a model's gates, in all forms that it can have. */
export interface ShownGates {
  svg(): Promise<string>;
  html(): Promise<string>;
  csv(): string;
  json(): object;
  table(style?: { markdown?: boolean }): string;
}

const FORMS = { '.svg': 'svg', '.html': 'html', '.htm': 'html', '.csv': 'csv', '.json': 'json' } as const;
export type GateForm = (typeof FORMS)[keyof typeof FORMS];

/** What a file is to hold, by its ending. Throws BAD_OPTION. */
export function formOf(file: string): GateForm {
  const ending = extname(file).toLowerCase();
  if (ending in FORMS) return FORMS[ending as keyof typeof FORMS];
  const message = `'${file}': its ending says what is written, and is one of ${Object.keys(FORMS).join(', ')}.`;
  throw new BtsError('BAD_OPTION', message);
}

export async function writeGates(shown: ShownGates, form: GateForm, file: string): Promise<void> {
  const text = form === 'json' ? `${JSON.stringify(shown.json(), null, 2)}\n` : await shown[form]();
  await overwrite(file, text);
  note(`The gates are in '${file}'.`);
}

/** Of means over domains or tasks of a model with these members. */
export function shownMeans(
  model: { path: string; name: string },
  members: readonly string[],
  means: readonly (MeanGates | TaskGates)[],
): ShownGates {
  const title = `Mean gates of ${model.name}`;
  const svg = () => renderGates(title, members, means);
  return {
    svg,
    html: async () => htmlPage(title, [await svg()]),
    csv: () => meansCsv(members, means),
    json: () => ({ model: model.path, members, gates: means }),
    table: (style) => meansTable(members, means, style),
  };
}

function meansTable(
  members: readonly string[],
  means: readonly (MeanGates | TaskGates)[],
  { markdown = false }: { markdown?: boolean } = {},
): string {
  type Row = MeanGates | TaskGates;
  const gate = ({ stitch, gates }: Row, m: number) => (m < DIRECTIONS[stitch.kind].firstGated ? null : gates[m]!);
  const columns: Column<Row>[] = [
    { title: 'after layer', value: ({ stitch }) => stitch.afterLayer },
    { title: 'kind', value: ({ stitch }) => stitch.kind.replaceAll('_', ' ') },
    { title: means.some((mean) => 'task' in mean) ? 'benchmark' : 'domain', value: subjectOf },
    ...members.map((title, m) => ({ title, value: (row: Row) => gate(row, m), digits: 3 })),
    { title: 'entropy', value: ({ entropy }) => entropy, digits: 3 },
    { title: 'saturated %', value: saturated, digits: 1 },
    { title: 'never heard', value: ({ unheard }) => (unheard.length > 0 ? unheard.join(', ') : null) },
    { title: 'tokens', value: ({ tokens }) => tokens },
  ];
  return renderTable(
    [...means].sort((a, b) => a.stitch.afterLayer - b.stitch.afterLayer),
    columns,
    { markdown },
  );
}

/** Of all gates of a stitch, how many are nearly 0 or 1, in percent. */
function saturated({ stitch, saturation: { low, high }, gates }: MeanGates | TaskGates): number {
  const { firstGated } = DIRECTIONS[stitch.kind];
  const all = [...low, ...high].reduce((sum, share) => sum + share, 0);
  return (100 * all) / (gates.length - firstGated);
}
