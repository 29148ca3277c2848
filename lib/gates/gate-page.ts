import { INK, lineStyle, mixed, TINT } from '../plots/style.js';
import { lineWithin } from '../plots/text-width.js';
import { escapeXml } from '../plots/vega.js';
import { describe, type FigureOptions, stitchOf } from './figures.js';
import { type GatedText, type GatedToken, membersOf } from './gated-text.js';

/** Of what names a text. */
const HEADING_WIDTH = 600;

/**
 * A self-contained page: the figure, and the texts with each token tinted by the member that leads in it.
 *
 * @param svg what `drawTokenGates` drew of them
 * @param texts what `gatedTexts` told
 */
export function gatePage(svg: string, texts: readonly GatedText[], options: FigureOptions): string {
  const { index, placement } = stitchOf(texts, options.afterLayer);
  const members = membersOf(texts);
  const legend = members.map((name, m) => `<li><i style="background:${tint(m, 1)}"></i>${escapeXml(name)}</li>`);
  const articles = texts.map(({ name, prompt, answer }) => {
    const spans = (tokens: readonly GatedToken[]) => tokens.map((token) => span(token, members, index)).join('');
    const part = (title: string, tokens: readonly GatedToken[]) =>
      tokens.length > 0 ? `<h3>${title}</h3><p class="text" dir="auto">${spans(tokens)}</p>` : '';
    const heading = `<h2><bdi>${escapeXml(lineWithin(name, HEADING_WIDTH, 18, true))}</bdi></h2>`;
    return `<article>${heading}${part('Prompt', prompt)}${part('Answer', answer)}</article>`;
  });
  return htmlPage(`Gates of ${options.model}`, [
    svg,
    `<p>${describe(placement)}. Each token has the color of the member that leads where it was expected or chosen, the stronger
the more it leads; hold the pointer over it for all members.</p>`,
    `<ul class="legend">${legend.join('')}</ul>`,
    ...articles,
  ]);
}

/** A page with nothing from elsewhere. */
export function htmlPage(title: string, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeXml(title)}</title>
<style>
body { margin: 1.5rem auto; max-width: 72rem; padding: 0 1rem; font: 1rem/1.6 Helvetica, Arial, sans-serif; color: ${INK}; background: white; }
svg { max-width: 100%; height: auto; }
h2 { font-size: 1.1rem; margin-bottom: 0; } h3 { font-size: 0.9rem; margin: 0.5rem 0 0; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, monospace; margin: 0.2rem 0 1rem; }
.text span { border-radius: 2px; }
.text i { font-style: normal; } .end::before { content: "\\21b5"; } .tab::before { content: "\\2192"; }
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0; list-style: none; }
.legend i { display: inline-block; width: 1.1em; height: 1.1em; margin-right: 0.4em; vertical-align: text-bottom; border: 1px solid ${INK}; }
</style>
</head>
<body>
${parts.join('\n')}
</body>
</html>
`;
}

function span({ text, gates }: GatedToken, members: readonly string[], stitch: number): string {
  if (text === '' || !gates) return escapeXml(text);
  const { mean } = gates.stitches[stitch]!;
  const all = gates.members.map((name, m) => `${name} ${mean[m]!.toFixed(2)}`).join(', ');
  const { leader, lead } = leaderOf(mean);
  const color = tint(members.indexOf(gates.members[leader]!), lead);
  return `<span style="background:${color}" title="${escapeXml(all)}">${shown(text)}</span>`;
}

/** A token's text in which ends of lines and tabs are seen, too; what is copied is the text itself. */
const shown = (text: string) =>
  escapeXml(text).replaceAll('\n', '<i class="end"></i>\n').replaceAll('\t', '<i class="tab"></i>\t');

/** The member with the largest gate, and by how much it leads the next one. */
export function leaderOf(gates: readonly number[]): { leader: number; lead: number } {
  const largest = Math.max(...gates);
  const leader = gates.indexOf(largest);
  const next = Math.max(0, ...gates.filter((_, m) => m !== leader));
  return { leader, lead: largest - next };
}

/** A background on which black text is read, of the color that a member's line has. */
export function tint(member: number, lead: number): string {
  return mixed(lineStyle(member).color, TINT.least + (TINT.most - TINT.least) * Math.min(1, Math.max(0, lead)));
}
