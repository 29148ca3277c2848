import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type MapGroup, renderMaps } from '../plots/value-maps.js';
import { counted } from './figures.js';
import { type MeanGates, subjectOf, type TaskGates } from './gate-sums.js';

/**
 * Draws what `meanGates` or `taskGates` found for a model with these members, the hub first, as a self-contained SVG: a table
 * for each domain or task of members and layers, apart for each direction of stitches.
 *
 * @param title stands above
 * @param members their names, the hub first
 * @param means what was found
 */
export async function renderGates(
  title: string,
  members: readonly string[],
  means: readonly (MeanGates | TaskGates)[],
): Promise<string> {
  const subjects = [...new Set(means.map(subjectOf))];
  const tokensOf = (subject: string) => counted(means.find((mean) => subjectOf(mean) === subject)!.tokens);
  const groups = (['experts_into_hub', 'hub_into_experts'] as const).flatMap((kind): MapGroup[] => {
    const { title, firstGated } = DIRECTIONS[kind];
    const maps = subjects.map((subject) => {
      const own = means.filter((mean) => subjectOf(mean) === subject && mean.stitch.kind === kind);
      return {
        title: subject,
        subtitle: tokensOf(subject),
        rows: members.slice(firstGated),
        columns: own.map(({ stitch }) => `${stitch.afterLayer}`),
        values: members.slice(firstGated).map((_, m) => own.map(({ gates }) => gates[firstGated + m]!)),
      };
    });
    const heading = `Stitches ${title}`;
    return maps.some(({ columns }) => columns.length > 0) ? [{ title: heading, maps }] : [];
  });
  const over = means.some((mean) => 'task' in mean) ? "the tokens of the model's answers" : 'held-out tokens';
  const subtitle = [`Mean over channels and ${over}`];
  return await renderMaps({ title, subtitle, columnTitle: 'after layer', groups });
}
