/** What is to be known of gates. */

/** @import { StitchGates, TokenGates } from '../../model/stitches/gate-log.js' */

/** Those that palette.css has. */
const LOOKS = 12;

/** Numbers for members, in the order in which they are met: so each keeps its look whoever is switched off. */
export class Members {
  #numbers = new Map([['hub', 0]]);

  constructor(/** @type {readonly string[]} */ experts) {
    for (const name of experts) this.numberOf(name);
  }

  numberOf(/** @type {string} */ name) {
    const number = this.#numbers.get(name) ?? this.#numbers.size;
    this.#numbers.set(name, number);
    return number;
  }

  lookOf(/** @type {string} */ name) {
    return `member-${this.numberOf(name) % LOOKS}`;
  }
}

/** Into the experts the hub has no gate. */
const hasGate = (/** @type {StitchGates} */ { placement }, /** @type {number} */ member) =>
  placement.kind === 'experts_into_hub' || member > 0;

/**
 * By member its gate in a stitch, where it has one.
 * @param {TokenGates} gates
 * @param {number} stitch
 * @returns {{ name: string, gate: number }[]}
 */
export function gatesAt({ members, stitches }, stitch) {
  const own = stitches[stitch];
  if (!own) return [];
  return members.flatMap((name, m) => (hasGate(own, m) ? [{ name, gate: own.mean[m] ?? 0 }] : []));
}

/**
 * The member with the largest gate, and by how much it leads the next one.
 * @param {TokenGates} gates
 * @param {number} stitch
 */
export function leaderOf(gates, stitch) {
  const [first, second] = gatesAt(gates, stitch).sort((a, b) => b.gate - a.gate);
  return first && { ...first, lead: first.gate - (second?.gate ?? 0) };
}

/** What a stitch's gates are, for people. */
export const meaningOf = (/** @type {StitchGates} */ { placement }) =>
  `shares ${placement.kind === 'experts_into_hub' ? 'in the hub' : 'of the hub'}, means over channels`;

/** Where a stitch stands. */
export const placeOf = (/** @type {StitchGates} */ { placement }) =>
  `layer ${placement.afterLayer}, into the ${placement.kind === 'experts_into_hub' ? 'hub' : 'experts'}`;

/** Three places tell apart what differs by a hundredth. */
export const shown = (/** @type {number} */ gate) => gate.toFixed(3);

/**
 * A token's gates in a sentence.
 * @param {string} name of the token
 * @param {TokenGates} gates
 * @param {number} stitch
 */
export function told(name, gates, stitch) {
  const sorted = gatesAt(gates, stitch).sort((a, b) => b.gate - a.gate);
  return `${name}: ${sorted.map(({ name, gate }) => `${name} ${shown(gate)}`).join(', ')}`;
}
