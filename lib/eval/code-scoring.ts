import { fraction } from './metrics/metrics.js';
import { passAtK } from './metrics/pass-at-k.js';
import type { Task } from './task.js';

export interface CodeScoring<Doc> {
  /** The metric's key for each k. */
  key: (k: number) => string;
  ks: readonly number[];
  /** Makes code out of a text that was generated, which lm-eval calls `filter`. */
  code: (doc: Doc, text: string) => string;
  filter: string;
  /** What stands behind the code and raises an error where it is wrong. */
  tests: (doc: Doc) => string;
}

/** Scores of generated code: the estimated probability that one of k samples passes its tests. */
export function codeScoring<Doc>(scoring: CodeScoring<Doc>): Pick<Task<Doc>, 'metrics' | 'score' | 'runsCode'> {
  const { key, ks, code, filter, tests } = scoring;
  return {
    runsCode: true,
    metrics: ks.map((k) => fraction(key(k))),
    async score(doc, { texts }, { sandbox, signal }) {
      const programs = texts!.map((text) => code(doc, text));
      const runs = await Promise.all(programs.map((program) => sandbox.run(`${program}\n${tests(doc)}`, signal)));
      const passed = runs.filter((run) => run.passed).length;
      const items = ks.map((k) => [key(k), passAtK(runs.length, passed, k)] as const);
      const verdicts = runs.map(({ verdict }) => verdict).join('\n');
      return { items: Object.fromEntries(items), extracted: { [filter]: programs[0]!, tests: verdicts } };
    },
  };
}
