import { dirname, resolve } from 'node:path';
import { BtsError } from '../../base/errors.js';
import type { Value } from '../../python/values.js';
import { withinTime } from '../../python/within-time.js';
import { type Row, readExactRows } from '../data/read-rows.js';
import { chain, type Filter, regexFilter, stripped } from '../filters.js';
import {
  type ChoiceMetric,
  choiceScoring,
  continuationScoring,
  perplexityScoring,
  type TextMetric,
  textScoring,
} from '../scoring.js';
import type { Answer, Task } from '../task.js';
import { type Fields, toFields, withNames } from './document.js';
import { fieldsOf, type TaskFields } from './fields.js';
import type { FilterStep, OwnTask } from './schema.js';
import { readTaskFile } from './task-file.js';

/**
 * The task that a YAML or JSON file describes, in the words of lm-eval's task files:
 *
 *     task: capitals
 *     data: capitals.jsonl                 # or {test: .., train: ..}, from the file's folder
 *     output_type: generate_until          # multiple_choice, loglikelihood, loglikelihood_rolling
 *     doc_to_text: "Q: What is the capital of {{country}}?\nA:"
 *     doc_to_target: "{{capital}}"
 *     num_fewshot: 3
 *     generation_kwargs: {until: ["\n"], max_gen_toks: 16}
 *     metric_list: [{metric: exact_match, ignore_case: true}]
 *
 * Throws FILE_NOT_FOUND, FILE_IO; BAD_TASK naming the file and what is wrong in it.
 */
export async function readOwnTask(path: string): Promise<Task<Fields>> {
  const { task: own, samples } = await readTaskFile(path);
  const { output_type: type, data, fewshot_config: config, generation_kwargs: sampling } = own;
  const columns = new Set<string>();
  const documents = (rows: readonly Row<Value>[]) => {
    const fields = withNames(rows).map(toFields);
    for (const one of fields) for (const name of Object.keys(one)) columns.add(name);
    return fields;
  };
  const read = async (file: string) => documents(await readExactRows(resolve(dirname(path), file)));
  const examples = samples?.map((value, i) => ({ value, source: `sample ${i + 1} in ${path}` }));
  const { preamble, question, answer, choices } = fieldsOf(own, columns);
  const stop = sampling.until ?? [own.fewshot_delimiter];
  const greedy = sampling.do_sample !== true;
  const offered = offeredChoices(own, answer, choices);
  return {
    name: own.task,
    version: own.metadata.version,
    source: own.source,
    follows: path,
    kind: type === 'generate_until' ? 'generate' : type === 'loglikelihood_rolling' ? 'text' : 'choices',
    shots: own.num_fewshot,
    draw: config.sampler === 'first_n' ? 'first' : 'random',
    answerDelimiter: type === 'loglikelihood' ? '' : own.target_delimiter,
    shotDelimiter: own.fewshot_delimiter,
    generation: {
      stop,
      ...(sampling.max_gen_toks === undefined ? {} : { maxTokens: sampling.max_gen_toks }),
      ...(greedy || sampling.temperature === undefined ? {} : { temperature: sampling.temperature }),
      ...(greedy || sampling.top_p === undefined ? {} : { topP: sampling.top_p }),
    },
    prompt: type === 'loglikelihood_rolling' ? `${own.doc_to_target}` : own.doc_to_text,
    documents: () => read(data.test),
    ...(examples ? { examples: () => Promise.resolve(documents(examples)) } : {}),
    ...(!examples && data.train ? { examples: () => read(data.train!) } : {}),
    preamble,
    question: type === 'loglikelihood_rolling' ? (doc) => `${answer(doc)}` : question,
    answer: type === 'loglikelihood' ? () => 0 : answer,
    ...(offered ? { choices: offered } : {}),
    ...limited(own.task, scoringOf(own, answer, offered)),
  };
}

/** Scoring that ends, whatever the file's regular expressions are. */
function limited(task: string, { metrics, score }: Scoring): Scoring {
  const fail = (seconds: number) =>
    new BtsError(
      'BAD_TASK',
      `'${task}': scoring one answer takes more than ${seconds} seconds. Look at its regular expressions.`,
    );
  return { metrics, score: (doc, response, tools) => withinTime(() => score(doc, response, tools), fail) };
}

/** What is scored: the choices of a document; a single continuation is its target, with the delimiter before it. */
function offeredChoices(
  { output_type: type, target_delimiter: delimiter }: OwnTask,
  answer: TaskFields['answer'],
  choices: TaskFields['choices'],
): TaskFields['choices'] {
  if (type !== 'loglikelihood') return type === 'multiple_choice' ? choices : undefined;
  return (doc) => {
    const [target] = [answer(doc)].flat().map(String);
    // lm-eval puts no delimiter here: targets of its tasks, LAMBADA's for one, begin with their own blank.
    return [/^\s/.test(target!) ? target! : `${delimiter}${target}`];
  };
}

type Scoring = Pick<Task<Fields>, 'metrics' | 'score'>;

const METRICS = {
  multiple_choice: ['acc', 'acc_norm', 'acc_bytes'],
  generate_until: ['exact_match', 'bleu', 'chrf'],
  loglikelihood: ['acc', 'perplexity'],
  loglikelihood_rolling: [],
} as const;

function scoringOf(
  own: OwnTask,
  answer: (doc: Fields) => Answer,
  choices: ((doc: Fields) => readonly string[]) | undefined,
): Scoring {
  const { output_type: type, metric_list: list } = own;
  const allowed: readonly string[] = METRICS[type];
  const wrong = list?.find(({ metric }) => !allowed.includes(metric));
  if (wrong) {
    const may = allowed.length > 0 ? `they are ${allowed.join(', ')}` : 'leave metric_list out';
    throw new BtsError('BAD_TASK', `'${own.task}': '${wrong.metric}' is no metric of ${type}: ${may}.`);
  }
  const metrics = list?.map(({ metric }) => metric);
  if (type === 'loglikelihood_rolling') return perplexityScoring((doc) => `${answer(doc)}`);
  if (type === 'loglikelihood') return continuationScoring();
  if (type === 'multiple_choice') {
    return choiceScoring({ answer, choices: choices!, ...(metrics ? { metrics: metrics as ChoiceMetric[] } : {}) });
  }
  const exact = list?.find(({ metric }) => metric === 'exact_match');
  return textScoring({
    answer,
    ...(own.filter_list
      ? { filters: own.filter_list.map(({ name, filter }) => chain(name, filter.map(filterOf))) }
      : {}),
    ...(metrics ? { metrics: metrics as TextMetric[] } : {}),
    ...(exact
      ? {
          exactMatch: {
            ignoreCase: exact.ignore_case,
            ignorePunctuation: exact.ignore_punctuation,
            ignoreNumbers: exact.ignore_numbers,
            ignore: exact.regexes_to_ignore,
          },
        }
      : {}),
  });
}

const CHANGES: Record<Exclude<FilterStep['function'], 'regex'>, (text: string) => string> = {
  take_first: (text) => text,
  remove_whitespace: (text) => stripped.extract(text),
  lowercase: (text) => text.toLowerCase(),
  uppercase: (text) => text.toUpperCase(),
};

function filterOf(step: FilterStep): Filter {
  if (step.function !== 'regex') return { name: step.function, extract: CHANGES[step.function] };
  return regexFilter(step.function, step.regex_pattern, { select: step.group_select, fallback: step.fallback });
}
