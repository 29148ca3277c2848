import { fraction } from './metrics/metrics.js';
import { passAtK } from './metrics/pass-at-k.js';
import type { Task } from './task.js';

export interface CodeScoring<Doc> {
  /** The metric's key for each k. */
  key: (k: number) => string;
  ks: readonly number[];
  /** The program that succeeds if the text is right. */
  program: (doc: Doc, text: string) => string;
}

/** Scores of generated code: the estimated probability that one of k samples passes its tests. */
export function codeScoring<Doc>({
  key,
  ks,
  program,
}: CodeScoring<Doc>): Pick<Task<Doc>, 'metrics' | 'score'> & { runsCode: true } {
  return {
    runsCode: true,
    metrics: ks.map((k) => fraction(key(k))),
    async score(doc, { texts }, { sandbox, signal }) {
      const runs = await Promise.all(texts!.map((text) => sandbox.run(program(doc, text), signal)));
      const passed = runs.filter((run) => run.passed).length;
      const items = ks.map((k) => [key(k), passAtK(texts!.length, passed, k)] as const);
      return { items: Object.fromEntries(items), extracted: { tests: runs.map(({ verdict }) => verdict).join('\n') } };
    },
  };
}
