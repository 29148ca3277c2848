import { bleu, bleuStatistics } from '../metrics/bleu.js';
import { chrf, chrfStatistics } from '../metrics/chrf.js';
import { mean } from '../metrics/standard-error.js';
import type { MetricResult, Sample } from '../run/run-task.js';
import type { Item } from '../task.js';

/** A document that two models answered differently well. */
export interface Difference {
  /** Its number in the task, from 0. */
  document: number;
  /** What both models were asked. */
  prompt: string;
  /** What was right. */
  target: string;
  /** What each of the two answered, and how it was scored, larger being better. */
  answers: [string, string];
  /** By the metric, the first model's and the second's. */
  scores: [number, number];
}

/** How two models did on one task. */
export interface Comparison {
  /** The task's name. */
  task: string;
  /** The metric that documents are compared by. */
  metric: string;
  /** Documents that both answered. */
  documents: number;
  /** The mean over documents, scaled as in tables; of texts, the mean of the sentences' scores. */
  means: [number, number];
  /** Documents that the first, or the second, did better. */
  onlyFirst: number;
  /** Documents that the second model alone has right. */
  onlySecond: number;
  /** Documents that both did alike: rightly (above zero), or not. */
  both: number;
  /** Documents that both have wrong. */
  neither: number;
  /** Of the exact sign test (McNemar's, where scores are 0 and 1): two-sided. */
  pValue: number;
  /** Where they differ, the largest differences first. */
  differences: Difference[];
}

/**
 * Compares what two models answered to the same documents of a task.
 *
 * @param task the task's name
 * @param metric by which they are compared
 * @param first the first model's samples
 * @param second the second model's
 */
export function compareSamples(
  task: string,
  { key, scale, higherIsBetter }: Pick<MetricResult, 'key' | 'scale' | 'higherIsBetter'>,
  first: readonly Sample[],
  second: readonly Sample[],
): Comparison {
  const others = new Map(second.map((sample) => [sample.document, sample]));
  const pairs = first.flatMap((sample) => {
    const other = others.get(sample.document);
    return other?.prompt.endsWith(questionOf(sample)) ? [{ sample, other }] : [];
  });
  const scored = pairs.map(({ sample, other }) => ({
    sample,
    other,
    scores: [score(sample.items[key]!, key), score(other.items[key]!, key)] as [number, number],
  }));
  const better = ({ scores: [a, b] }: (typeof scored)[number]) => (higherIsBetter ? a > b : a < b);
  const worse = ({ scores: [a, b] }: (typeof scored)[number]) => (higherIsBetter ? a < b : a > b);
  const alike = scored.filter((pair) => !better(pair) && !worse(pair));
  const both = alike.filter(({ scores }) => scores[0] > 0).length;
  const [onlyFirst, onlySecond] = [scored.filter(better).length, scored.filter(worse).length];
  return {
    task,
    metric: key,
    documents: scored.length,
    means: [0, 1].map((side) => scale * mean(scored.map(({ scores }) => scores[side]!))) as [number, number],
    onlyFirst,
    onlySecond,
    both,
    neither: alike.length - both,
    pValue: signTest(onlyFirst, onlySecond),
    differences: scored
      .filter((pair) => better(pair) || worse(pair))
      .sort((x, y) => gap(y.scores) - gap(x.scores) || x.sample.document - y.sample.document)
      .map(({ sample, other, scores }) => ({
        document: sample.document,
        prompt: sample.prompt,
        target: targetText(sample),
        answers: [answerText(sample), answerText(other)],
        scores,
      })),
  };
}

const gap = ([a, b]: readonly [number, number]) => Math.abs(a - b);

/** The end of a prompt: two models may have been shown different examples, but must have been asked the same. */
const questionOf = ({ prompt }: Sample) => prompt.slice(-80);

/** One document's score; of texts, that of the sentence. */
function score(item: Item, key: string): number {
  if (typeof item === 'number') return item;
  if ('sum' in item) return item.sum / item.weight;
  const { hypothesis, references } = item;
  if (key.startsWith('chrf')) return chrf(chrfStatistics(hypothesis, references));
  return bleu(bleuStatistics(hypothesis, references), { effectiveOrder: true }).score;
}

function answerText({ response: { texts, choices, logProbability } }: Sample): string {
  if (texts) return texts.join('\n');
  if (choices) {
    const values = choices.map((choice) => choice.logProbability);
    return `choice ${values.indexOf(Math.max(...values))} of [${values.map((value) => value.toFixed(2)).join(', ')}]`;
  }
  return `log-probability ${logProbability!.toFixed(2)}`;
}

function targetText({ target }: Sample): string {
  return typeof target === 'object' ? target.join(', ') : `${target}`;
}

/** The probability that of a + b fair coins as many or more fall to one side, twice. */
export function signTest(a: number, b: number): number {
  const n = a + b;
  let sum = 0;
  let logCoefficient = -n * Math.LN2;
  for (let k = 0; k <= Math.min(a, b); k++) {
    sum += Math.exp(logCoefficient);
    logCoefficient += Math.log((n - k) / (k + 1));
  }
  return Math.min(1, 2 * sum);
}
