/** The paper's figures of gates, token by token. */
import { BtsError } from '../base/errors.js';
import type { Placement } from '../checkpoint/stitch-manifest.js';
import { DIRECTIONS } from '../model/stitches/directions/index.js';
import { type Panel, type Point, renderLines } from '../plots/line-panels.js';
import { type GatedText, type GatedToken, membersOf } from './gated-text.js';

export interface FigureOptions {
  /** The name of the model, for the title. */
  model: string;
  /** The stitch after this layer; default the last one. */
  afterLayer?: number | undefined;
}

/** Differences between gates below it are not made to look large. */
const LEAST_SPAN = 0.05;

/**
 * As Figure 2: a column a text, its prompt above and its answer below, a line a member. A text of several parts gets a figure
 * of its own, as Figure 3: dotted lines where it switches. Throws BAD_OPTION where there is no such stitch.
 */
export async function drawTokenGates(texts: readonly GatedText[], options: FigureOptions): Promise<string> {
  const stitch = stitchOf(texts, options.afterLayer);
  const placement = stitch.placement;
  const members = membersOf(texts);
  const names = members.slice(DIRECTIONS[placement.kind].firstGated);
  const hasAnswers = texts.some(({ answer }) => answer.length > 0);
  const [only] = texts.length === 1 ? texts : [];
  const switching = only && only.parts.length > 1 ? only : undefined;
  const panel = (part: string, tokens: readonly GatedToken[], first: number): Panel => ({
    title: `${part}, ${counted(tokens.length)}`,
    lines: names.map((name) => tokens.map((token, i) => pointOf(token, first + i, name, stitch.index))),
  });
  const whole = switching && {
    ...panel('Text', [...switching.prompt, ...switching.answer], 1),
    marks: [
      ...switching.parts.map(({ name, first }) => ({ x: first + 1, label: shortened(name) })),
      ...(hasAnswers ? [{ x: switching.prompt.length + 1, label: 'answer' }] : []),
    ],
  };
  const panels = whole
    ? [whole]
    : [
        ...texts.map(({ name, prompt }) => panel(`${shortened(name)}: prompt`, prompt, 1)),
        ...(hasAnswers ? texts.map(({ prompt, answer }) => panel('answer', answer, prompt.length + 1)) : []),
      ];
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
    columns: whole ? 1 : texts.length,
    xTitle: 'token',
    yTitle: placement.kind === 'experts_into_hub' ? 'share' : 'share of the hub',
    leastSpan: LEAST_SPAN,
    ...(whole && { width: 860, height: 260 }),
  });
}

const counted = (tokens: number) => `${tokens} ${tokens === 1 ? 'token' : 'tokens'}`;

/** What a stitch does, for people. */
export const describe = ({ afterLayer, kind }: Placement) =>
  `Stitch after layer ${afterLayer}, ${DIRECTIONS[kind].title}`;

/** A name that fits above a panel. */
function shortened(name: string): string {
  const line = name.replace(/\s+/g, ' ').trim();
  const characters = Array.from(line);
  return characters.length > 26 ? `${characters.slice(0, 25).join('')}…` : line;
}

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
