import { leaderOf, tint } from '../../gates/gate-page.js';
import type { TokenGates } from '../../model/stitches/gate-log.js';
import { INK } from '../../plots/style.js';
import { type ColorDepth, painted } from '../../terminal/colors.js';

/** Tints text by the member that leads in the last stitch, the stronger the more it leads. */
export class Tint {
  isOn: boolean;
  /** In the order of their colors: a member keeps its own, whoever is switched off. */
  private readonly members: string[] = [];

  constructor(private readonly depth: ColorDepth) {
    this.isOn = this.canTint;
  }

  /** Whether the terminal has colors enough to tell members apart. */
  get canTint(): boolean {
    return this.depth >= 8;
  }

  paint(text: string, gates: TokenGates): string {
    if (!this.isOn) return text;
    const { leader, lead } = leaderOf(gates.stitches.at(-1)!.mean);
    return this.colored(text, this.members.indexOf(gates.members[leader]!), lead);
  }

  /** What the colors mean, where there is a member whose color was not told yet. */
  legend({ members, stitches }: TokenGates): string | undefined {
    const added = members.filter((name) => !this.members.includes(name));
    if (!this.isOn || added.length === 0) return undefined;
    this.members.push(...added);
    const names = this.members.map((name, m) => this.colored(` ${name} `, m, 1)).join(' ');
    const { afterLayer } = stitches.at(-1)!.placement;
    return `${names} leads where a token was chosen, in the stitch after layer ${afterLayer} (/gates off: no colors)`;
  }

  private colored(text: string, member: number, lead: number): string {
    return painted(text, INK, tint(member, lead), this.depth);
  }
}
