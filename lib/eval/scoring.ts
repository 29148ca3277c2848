import type { ContinuationScore } from '../model/requests/request.js';
import { countWords } from '../python/text.js';
import { asIs, type Filter } from './filters.js';
import { type ExactMatchOptions, exactMatch } from './metrics/exact-match.js';
import { bits, corpusBleu, corpusChrf, fraction, meanPerplexity, perplexity } from './metrics/metrics.js';
import type { Answer, Metric, Outcome, Response, Task } from './task.js';

type Answers<Doc> = (doc: Doc) => Answer;

/** What `textScoring` compares answers by. */
export type TextMetric = 'exact_match' | 'bleu' | 'chrf';

export interface TextScoring<Doc> {
  answer: Answers<Doc>;
  /** Default: the text as it is. The first is the one in tables. */
  filters?: readonly Filter[];
  /** Default: exact match. */
  metrics?: readonly TextMetric[];
  exactMatch?: ExactMatchOptions;
}

const CREATE: Record<TextMetric, (key: string) => Metric> = {
  exact_match: fraction,
  bleu: corpusBleu,
  chrf: corpusChrf,
};

/** Scores of generated texts: each metric on what each filter finds in the first of them. */
export function textScoring<Doc>({
  answer,
  filters = [asIs],
  metrics = ['exact_match'],
  exactMatch: options = {},
}: TextScoring<Doc>): Pick<Task<Doc>, 'metrics' | 'score'> {
  const pairs = filters.flatMap((filter) =>
    metrics.map((metric) => ({ filter, metric, key: `${metric},${filter.name}` })),
  );
  return {
    metrics: pairs.map(({ metric, key }) => CREATE[metric](key)),
    score(doc: Doc, { texts }: Response): Outcome {
      const answers = answer(doc);
      const references = typeof answers === 'object' ? answers : [`${answers}`];
      const extracted = Object.fromEntries(filters.map((filter) => [filter.name, filter.extract(texts![0]!)]));
      const items = pairs.map(({ filter, metric, key }) => {
        const hypothesis = extracted[filter.name]!;
        const item =
          metric === 'exact_match' ? Number(exactMatch(hypothesis, references, options)) : { hypothesis, references };
        return [key, item] as const;
      });
      return { items: Object.fromEntries(items), extracted };
    },
  };
}

/** What `choiceScoring` compares choices by. */
export type ChoiceMetric = 'acc' | 'acc_norm' | 'acc_bytes';

export interface ChoiceScoring<Doc> {
  answer: Answers<Doc>;
  choices: (doc: Doc) => readonly string[];
  /** Default: accuracy. */
  metrics?: readonly ChoiceMetric[];
}

/** How a choice's log-probability is weighted before the largest is taken: as it is, by characters, by bytes. */
const LENGTH: Record<ChoiceMetric, (choice: string) => number> = {
  acc: () => 1,
  acc_norm: (choice) => [...choice].length,
  acc_bytes: (choice) => Buffer.byteLength(choice),
};

/** Scores of multiple choices: whether the likeliest one is right. */
export function choiceScoring<Doc>({ answer, choices, metrics = ['acc'] }: ChoiceScoring<Doc>) {
  return {
    metrics: metrics.map((metric) => fraction(`${metric},none`)),
    score(doc: Doc, { choices: scores }: Response): Outcome {
      const texts = choices(doc);
      const right = rightChoices(answer(doc), texts);
      const items = metrics.map((metric) => {
        const picked = largest(scores!, (i) => LENGTH[metric](texts[i]!));
        return [`${metric},none`, Number(right.includes(picked))] as const;
      });
      return { items: Object.fromEntries(items) };
    },
  };
}

/** Scores of a single continuation: its perplexity, and whether greedy generation would give it. */
export function continuationScoring(): Pick<Task, 'metrics' | 'score'> {
  return {
    metrics: [fraction('acc,none'), meanPerplexity('perplexity,none')],
    score(_, { choices }): Outcome {
      const { logProbability, isGreedy } = choices![0]!;
      return { items: { 'acc,none': Number(isGreedy), 'perplexity,none': logProbability } };
    },
  };
}

/** Scores of whole texts: perplexity by words and bytes, and bits per byte. */
export function perplexityScoring<Doc>(text: (doc: Doc) => string) {
  return {
    metrics: [perplexity('word_perplexity,none'), perplexity('byte_perplexity,none'), bits('bits_per_byte,none')],
    score(doc: Doc, { logProbability }: Response): Outcome {
      const sum = logProbability!;
      const [words, bytes] = [countWords(text(doc)), Buffer.byteLength(text(doc))];
      return {
        items: {
          'word_perplexity,none': { sum, weight: words },
          'byte_perplexity,none': { sum, weight: bytes },
          'bits_per_byte,none': { sum, weight: bytes },
        },
      };
    },
  };
}

function rightChoices(answer: Answer, choices: readonly string[]): number[] {
  if (typeof answer === 'number') return [answer];
  const answers = typeof answer === 'string' ? [answer] : answer;
  return answers.map((text) => choices.indexOf(text));
}

/** The choice with the largest score, the first of equals. */
function largest(scores: readonly ContinuationScore[], length: (i: number) => number): number {
  const values = scores.map(({ logProbability }, i) => logProbability / length(i));
  return values.indexOf(Math.max(...values));
}
