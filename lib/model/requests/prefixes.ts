import { commonPrefix } from '../../base/common-prefix.js';
import { smallest } from '../../base/extremes.js';

/** Sequences that begin alike. */
export interface PrefixGroup {
  /** How many tokens they have in common; each has one more at least. */
  prefix: number;
  members: number[];
}

/** A prefix is computed in a pass of its own, which must save more than this many tokens. */
const PASS_TOKENS = 64;

/**
 * Groups sequences so that what they have in common is computed once, where that saves something. The result depends on the
 * sequences alone. Groups come with their longest sequence first; so do the members of each.
 */
export function groupByPrefix(sequences: readonly (readonly number[])[]): PrefixGroup[] {
  const order = [...sequences.keys()].sort((a, b) => compare(sequences[a]!, sequences[b]!));
  const common = order.map((at, i) => (i === 0 ? 0 : commonPrefix(sequences[order[i - 1]!]!, sequences[at]!)));
  const groups: PrefixGroup[] = [];

  // The sequences first..last of the order, below a group that shares `shared` tokens; returns those that stay in it.
  const visit = (first: number, last: number, shared: number): number[] => {
    if (first === last) return [order[first]!];
    const least = smallest(common.slice(first + 1, last + 1));
    const prefix = Math.min(least, sequences[order[first]!]!.length - 1);
    const saved = (last - first + 1) * (prefix - shared) - prefix - PASS_TOKENS;
    const below = saved > 0 ? prefix : shared;
    const members: number[] = [];
    for (let from = first, i = first + 1; i <= last + 1; i++) {
      if (i <= last && common[i]! > least) continue;
      for (const member of visit(from, i - 1, below)) members.push(member);
      from = i;
    }
    if (saved <= 0) return members;
    if (members.length > 0) groups.push({ prefix, members });
    return [];
  };
  const rest = sequences.length > 0 ? visit(0, sequences.length - 1, 0) : [];
  if (rest.length > 0) groups.push({ prefix: 0, members: rest });

  const length = (member: number) => sequences[member]!.length;
  for (const { members } of groups) members.sort((a, b) => length(b) - length(a) || a - b);
  return groups.sort((a, b) => length(b.members[0]!) - length(a.members[0]!));
}

function compare(a: readonly number[], b: readonly number[]): number {
  const at = commonPrefix(a, b);
  return (a[at] ?? -1) - (b[at] ?? -1);
}
