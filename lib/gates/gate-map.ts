import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type MapGroup, renderMaps } from '../plots/value-maps.js';
import type { MeanGates } from './mean-gates.js';

/**
 * Draws what `meanGates` found for a model with these members, the hub first, as a self-contained SVG: a table for each domain
 * of members and layers, apart for each direction of stitches.
 */
export async function renderGates(
  title: string,
  members: readonly string[],
  means: readonly MeanGates[],
): Promise<string> {
  const domains = [...new Set(means.map(({ domain }) => domain))];
  const groups = (['experts_into_hub', 'hub_into_experts'] as const).flatMap((kind): MapGroup[] => {
    const { title, firstGated } = DIRECTIONS[kind];
    const maps = domains.map((domain) => {
      const own = means.filter((mean) => mean.domain === domain && mean.stitch.kind === kind);
      return {
        title: domain,
        rows: members.slice(firstGated),
        columns: own.map(({ stitch }) => `${stitch.afterLayer}`),
        values: members.slice(firstGated).map((_, m) => own.map(({ gates }) => gates[firstGated + m]!)),
      };
    });
    const heading = `Stitches ${title}`;
    return maps.some(({ columns }) => columns.length > 0) ? [{ title: heading, maps }] : [];
  });
  const tokens = domains.map((domain) => `${domain} ${means.find((mean) => mean.domain === domain)!.tokens}`);
  const subtitle = ['Mean over channels and held-out tokens', `Tokens: ${tokens.join(', ')}`];
  return await renderMaps({ title, subtitle, columnTitle: 'after layer', groups });
}
