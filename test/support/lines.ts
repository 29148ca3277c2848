/** What could not be tried here, and why. */
export class Skipped extends Error {}

type Try = () => unknown;

const lines: { name: string; attempt: Try }[] = [];

/** A line of the matrix: what is tried, and a word on what came of it. */
export function line(name: string, attempt: Try): void {
  lines.push({ name, attempt });
}

/** Tries all lines whose names hold one of these words, in turn, and prints each. True if none failed. */
export async function tryAll(words: readonly string[]): Promise<boolean> {
  const counts = { ok: 0, failed: 0, skipped: 0 };
  for (const { name, attempt } of lines) {
    if (words.length > 0 && !words.some((word) => name.includes(word))) continue;
    const [state, detail] = await outcome(attempt);
    counts[state]++;
    console.log(`${state.padEnd(8)}${name}${detail ? `: ${detail}` : ''}`);
  }
  console.log(`${counts.ok} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0;
}

async function outcome(attempt: Try): Promise<['ok' | 'failed' | 'skipped', string | undefined]> {
  try {
    const detail = await attempt();
    return ['ok', typeof detail === 'string' ? detail : undefined];
  } catch (error) {
    if (error instanceof Skipped) return ['skipped', error.message];
    const { message, details, stdout, stderr } = error as Partial<
      Record<'message' | 'details' | 'stdout' | 'stderr', string>
    >;
    return ['failed', [message, details, stdout, stderr].filter(Boolean).join('\n')];
  }
}
