/** The paper's figures of gates, token by token. */
import { BtsError } from '../base/errors.js';
import type { Placement } from '../checkpoint/stitch-manifest.js';
import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type Panel, type Point, renderLines } from '../plots/line-panels.js';
import { lineWithin } from '../plots/text-width.js';
import { type GatedText, type GatedToken, membersOf } from './gated-text.js';

/** What of the gates is drawn. */
export interface FigureOptions {
  /** The name of the model, for the title. */
  model: string;
  /** The stitch after this layer; default the last one. */
  afterLayer?: number | undefined;
}

/** Differences between gates below it are not made to look large. */
const LEAST_SPAN = 0.05;
/** Of prompts beside each other; more begin a new line. */
const MOST_COLUMNS = 4;
/** Of a panel: Figure 2 has several, Figure 3 one. */
const SIZES = { column: { width: 280, height: 200 }, whole: { width: 860, height: 260 } };
/** Of the names of parts, which stand in rows above each other where they are close. */
const MARK_WIDTH = 200;
/** Pixels that a point takes at least: more tokens than fit are drawn as means of a few. */
const POINT_WIDTH = 2.5;

/**
 * As Figure 2: a column a text, its prompt above and its answer below, a line a member. A text of several parts gets a figure
 * of its own, as Figure 3: dotted lines where it switches. Throws BAD_OPTION where there is no such stitch.
 *
 * @param texts what `gatedTexts` told
 */
export async function drawTokenGates(texts: readonly GatedText[], options: FigureOptions): Promise<string> {
  const stitch = stitchOf(texts, options.afterLayer);
  const placement = stitch.placement;
  const members = membersOf(texts);
  const names = members.slice(DIRECTIONS[placement.kind].firstGated);
  const [only] = texts.length === 1 ? texts : [];
  const switching = only && only.parts.length > 1 ? only : undefined;
  const size = switching ? SIZES.whole : SIZES.column;
  const draw: Draw = (title, tokens, first) => panelOf(title, tokens, first, { names, stitch: stitch.index, ...size });
  const columns = switching ? 1 : Math.min(texts.length, MOST_COLUMNS);
  const panels = switching ? [switchingPanel(switching, draw)] : columnPanels(texts, columns, draw);
  const sum = (count: (text: GatedText) => number) => texts.reduce((all, text) => all + count(text), 0);
  const generated = sum(({ answer }) => answer.length);
  const title = switching ? 'on a text that switches' : 'token by token';
  return await renderLines({
    title: `Gates of ${options.model} ${title}`,
    subtitle: [
      `${describe(placement)}; mean over channels, where each token was expected or chosen`,
      `${counted(sum(({ prompt }) => prompt.length))} of prompts${generated > 0 ? `, ${generated} generated` : ''}`,
    ],
    names,
    panels,
    columns,
    xTitle: 'token',
    yTitle: placement.kind === 'experts_into_hub' ? 'share' : 'share of the hub',
    leastSpan: LEAST_SPAN,
    ...size,
  });
}

/** Draws some tokens, of which the first is the text's token number `first`. */
type Draw = (title: string, tokens: readonly GatedToken[], first: number) => Panel;

/** Prompts above and answers below, `columns` side by side. */
function columnPanels(texts: readonly GatedText[], columns: number, draw: Draw): (Panel | undefined)[] {
  const prompts = ({ name, prompt }: GatedText) => draw(name, prompt, 1);
  const answers = ({ prompt, answer }: GatedText) => draw('Answer', answer, prompt.length + 1);
  const rows = texts.some(({ answer }) => answer.length > 0) ? [prompts, answers] : [prompts];
  const lines = Array.from({ length: Math.ceil(texts.length / columns) }, (_, i) => i * columns);
  return lines.flatMap((first) =>
    rows.flatMap((row) => Array.from({ length: columns }, (_, i) => texts[first + i] && row(texts[first + i]!))),
  );
}

function switchingPanel({ prompt, answer, parts }: GatedText, draw: Draw): Panel {
  const { subtitle, lines } = draw('', [...prompt, ...answer], 1);
  const marks = parts.map(({ name, first }) => ({ x: first + 1, label: lineWithin(name, MARK_WIDTH, 11) }));
  if (answer.length > 0) marks.push({ x: prompt.length + 1, label: 'answer' });
  return { title: `Text, ${subtitle}`, lines, marks };
}

function panelOf(
  title: string,
  tokens: readonly GatedToken[],
  first: number,
  { names, stitch, width }: { names: readonly string[]; stitch: number; width: number },
): Panel {
  const each = Math.ceil((tokens.length * POINT_WIDTH) / width);
  return {
    title,
    subtitle: `${counted(tokens.length)}${each > 1 ? `, means of ${each}` : ''}`,
    lines: names.map((name) =>
      meansOf(
        tokens.map((token, i) => pointOf(token, first + i, name, stitch)),
        each,
      ),
    ),
  };
}

/** Each so many points as one; of those that are known. */
function meansOf(points: readonly Point[], each: number): Point[] {
  if (each <= 1) return [...points];
  return Array.from({ length: Math.ceil(points.length / each) }, (_, i) => {
    const some = points.slice(i * each, (i + 1) * each);
    const known = some.filter(({ y }) => Number.isFinite(y));
    const y = known.reduce((sum, point) => sum + point.y, 0) / known.length;
    return { x: (some[0]!.x + some.at(-1)!.x) / 2, y };
  });
}

/** So many tokens, in words. */
export const counted = (tokens: number) => `${tokens} ${tokens === 1 ? 'token' : 'tokens'}`;

/** What a stitch does, for people. */
export const describe = ({ afterLayer, kind }: Placement) =>
  `Stitch after layer ${afterLayer}, ${DIRECTIONS[kind].title}`;

function pointOf({ gates }: GatedToken, x: number, member: string, stitch: number): Point {
  const m = gates?.members.indexOf(member) ?? -1;
  return { x, y: m < 0 ? Number.NaN : gates!.stitches[stitch]!.mean[m]! };
}

/** The stitch after a layer, or the last one. Throws BAD_OPTION. */
export function stitchOf(texts: readonly GatedText[], afterLayer?: number): { index: number; placement: Placement } {
  const gates = texts.flatMap(({ prompt, answer }) => [...prompt, ...answer]).find((token) => token.gates)?.gates;
  if (!gates) throw new BtsError('BAD_OPTION', 'no token has gates: give texts of two tokens at least.');
  const plan = gates.stitches.map(({ placement }) => placement);
  const index = afterLayer === undefined ? plan.length - 1 : plan.findIndex((place) => place.afterLayer === afterLayer);
  if (index >= 0) return { index, placement: plan[index]! };
  const layers = plan.map((place) => place.afterLayer).join(', ');
  throw new BtsError('BAD_OPTION', `there is no stitch after layer ${afterLayer}: they stand after layers ${layers}.`);
}
