import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { latexNumber, sameNumber } from '../../lib/eval/metrics/latex-number.js';
import { corpusBleu, fraction } from '../../lib/eval/metrics/metrics.js';
import { passAtK } from '../../lib/eval/metrics/pass-at-k.js';
import { averageError, bootstrapError, mean, meanError, pooledError } from '../../lib/eval/metrics/standard-error.js';
import { columnResult } from '../../lib/eval/results/columns.js';
import { compareSamples, signTest } from '../../lib/eval/results/compare.js';
import type { Sample, TaskResult } from '../../lib/eval/run/run-task.js';
import type { Task } from '../../lib/eval/task.js';

const close = (got: number | null, want: number) => assert.ok(Math.abs(got! - want) < 1e-12, `${got}, not ${want}`);

test('pass@k is the probability that one of k samples is right', () => {
  // Against the definition, by counting all draws of k out of n.
  const choose = (n: number, k: number): number =>
    k === 0 ? 1 : n === 0 ? 0 : choose(n - 1, k - 1) + choose(n - 1, k);
  for (const [n, c, k] of [
    [10, 3, 1],
    [10, 3, 5],
    [10, 0, 5],
    [10, 10, 1],
    [5, 1, 5],
    [6, 2, 4],
    [1, 1, 1],
  ] as const) {
    close(passAtK(n, c, k), 1 - choose(n - c, k) / choose(n, k));
  }
});

test("standard errors are lm-eval's", () => {
  // lm_eval.api.metrics: mean_stderr([1,0,1,1,0]); pooled_sample_stderr([.2,.1],[10,30]); unweighted_mean_stderr([.3,.4])
  close(meanError([1, 0, 1, 1, 0]), 0.24494897427831783);
  close(
    pooledError([
      { standardError: 0.2, size: 10 },
      { standardError: 0.1, size: 30 },
    ]),
    0.0899561296586169,
  );
  close(
    averageError([
      { standardError: 0.3, size: 5 },
      { standardError: 0.4, size: 9 },
    ]),
    0.25,
  );
  // bootstrap_stderr(mean, [1,2,3,4,10], iters=100) and iters=2000
  close(bootstrapError([1, 2, 3, 4, 10], mean, 100), 1.4864709750264073);
  close(bootstrapError([1, 2, 3, 4, 10], mean, 2000), 1.4592841893108395);
  assert.is(meanError([1]), null);
});

test('numbers in LaTeX have their values, and nothing else has one', () => {
  for (const [latex, value] of [
    ['\\frac{1}{2}', 0.5],
    ['-\\dfrac{3}{4}', -0.75],
    ['2\\sqrt{3}', 2 * Math.sqrt(3)],
    ['\\sqrt[3]{8}', 2],
    ['3^{2}+1', 10],
    ['2\\pi', 2 * Math.PI],
    ['\\left(1+2\\right)\\cdot3', 9],
    ['10/4', 2.5],
    ['.5', 0.5],
  ] as const) {
    close(latexNumber(latex), value);
  }
  for (const latex of ['x', '(1,2)', '\\frac{1}{x}', '', '1/0', '2a', '\\text{Even}', '((1)']) {
    assert.is(latexNumber(latex), null, latex);
  }
  assert.ok(sameNumber('\\frac{2}{4}', '0.5'));
  assert.not(sameNumber('1', '1.001'));
  assert.not(sameNumber('x', 'x'));
});

const task = (name: string) => ({ name }) as Task;
const taskResult = (documents: number, value: number, standardError: number) =>
  ({ documents, metrics: [{ key: 'acc,none', value, standardError, higherIsBetter: true, scale: 100 }] }) as TaskResult;

test('a group counts its tasks by their documents, or all the same', () => {
  const results = new Map([
    ['a', taskResult(10, 0.5, 0.2)],
    ['b', taskResult(30, 0.1, 0.1)],
  ]);
  const tasks = [task('a'), task('b')];
  const group = { name: 'g', description: '', members: ['a', 'b'] };
  const bySize = columnResult({ name: 'g', tasks, group: { ...group, weightBySize: true } }, results)!;
  close(bySize.value, 0.2);
  close(bySize.standardError, 0.0899561296586169);
  assert.is(bySize.documents, 40);
  const alike = columnResult({ name: 'g', tasks, group: { ...group, weightBySize: false } }, results)!;
  close(alike.value, 0.3);
  close(alike.standardError, Math.sqrt(0.05) / 2);
});

test('metrics over a corpus compare all texts at once', () => {
  const items = [
    { hypothesis: 'the cat sat on the mat', references: ['the cat sat on the mat'] },
    { hypothesis: 'nothing alike', references: ['a dog lay there'] },
  ];
  const { value, standardError } = corpusBleu('bleu,none').aggregate(items);
  assert.ok(value > 50 && value < 100);
  assert.ok(standardError! > 0);
  assert.equal(fraction('acc,none').aggregate([1, 0]), { value: 0.5, standardError: 0.5 });
});

const sample = (document: number, score: number): Sample => ({
  document,
  hash: '',
  prompt: `question ${document}`,
  target: '1',
  response: { texts: [`answer ${score}`] },
  isCut: false,
  items: { 'exact_match,none': score },
});

test('a comparison counts what only one model has right', () => {
  const first = [1, 1, 1, 0, 0].map((score, i) => sample(i, score));
  const second = [1, 0, 0, 1, 0].map((score, i) => sample(i, score));
  const metric = { key: 'exact_match,none', scale: 100, higherIsBetter: true };
  const got = compareSamples('task', metric, first, second.slice(0, 5));
  assert.equal([got.onlyFirst, got.onlySecond, got.both, got.neither], [2, 1, 1, 1]);
  assert.equal(got.means.map(Math.round), [60, 40]);
  assert.equal(
    got.differences.map(({ document }) => document),
    [1, 2, 3],
  );
  assert.equal(got.differences[0]!.answers, ['answer 1', 'answer 0']);
});

test('the sign test gives the probability of a difference by chance', () => {
  close(signTest(0, 0), 1);
  close(signTest(5, 0), 2 / 32);
  close(signTest(8, 2), (2 * (1 + 10 + 45)) / 1024);
  assert.is(signTest(3, 3), 1);
});

test.run();
