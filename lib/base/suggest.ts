/** Of two texts: how many letters have to be put in, taken out, changed or swapped with their neighbour. */
function editDistance(a: string, b: string): number {
  let [twoAbove, above]: [number[], number[]] = [[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, change);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) row[j] = Math.min(row[j]!, twoAbove[j - 2]! + 1);
    }
    [twoAbove, above] = [above, row];
  }
  return above[b.length]!;
}

const MOST = 4;

/** Those of `names` that a mistyped one may mean, the likeliest first; separators and capitals do not matter. */
export function similarNames(mistyped: string, names: Iterable<string>): string[] {
  const plain = (text: string) => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');
  const word = plain(mistyped);
  const found: { name: string; distance: number }[] = [];
  for (const name of new Set(names)) {
    const other = plain(name);
    const distance = editDistance(word, other);
    const isNear = distance <= Math.max(1, Math.floor(0.4 * Math.max(word.length, other.length)));
    const isPart = Math.min(word.length, other.length) >= 3 && (other.includes(word) || word.includes(other));
    if (isNear || isPart) found.push({ name, distance });
  }
  return found
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, MOST)
    .map(({ name }) => name);
}

/** " Did you mean 'a' or 'b'?", to be put behind a sentence; nothing where no name is like the mistyped one. */
export function didYouMean(mistyped: string, names: Iterable<string>): string {
  const quoted = similarNames(mistyped, names).map((name) => `'${name}'`);
  if (quoted.length === 0) return '';
  const last = quoted.pop();
  return ` Did you mean ${quoted.length > 0 ? `${quoted.join(', ')} or ${last}` : last}?`;
}
