import { dirname, resolve } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { check } from '../../checkpoint/check.js';
import { readAt, withFile } from '../../checkpoint/file.js';
import { BtsError } from '../../errors.js';
import { type Row, readRows } from '../data/read-rows.js';
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
import { type Fields, JinjaTemplate } from './jinja.js';
import { type FilterStep, OwnTask } from './schema.js';

const MOST_BYTES = 1 << 20;
const FieldsOf = z.record(z.string(), z.unknown());

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
  const fail = (reason: string, cause?: unknown) => new BtsError('BAD_TASK', `'${path}': ${reason}`, { cause });
  const text = await withFile(path, async (file, bytes) => {
    if (bytes > MOST_BYTES) throw fail(`a task has at most ${MOST_BYTES} bytes, this one ${bytes}.`);
    return (await readAt(file, 0, bytes)).toString('utf8');
  });
  if (/!function\b/.test(text)) {
    throw fail('it calls functions in Python. Say the same with templates, filters and metrics.');
  }
  let content: unknown;
  try {
    content = parse(text);
  } catch (error) {
    throw fail((error as Error).message.trim().split('\n')[0]!, error);
  }
  return createTask(
    check(OwnTask, content, (reason) => fail(`${reason}.`)),
    path,
  );
}

function createTask(own: OwnTask, path: string): Task<Fields> {
  const { output_type: type, data, fewshot_config: examples, generation_kwargs: sampling } = own;
  const read = async (file: string): Promise<Fields[]> => {
    const rows = withFields(await readRows(resolve(dirname(path), file)));
    return rows.map(({ value, source }) =>
      check(FieldsOf, value, (reason) => new BtsError('BAD_DATA', `${source} is no object with fields: ${reason}.`)),
    );
  };
  const question = templateOf(own.doc_to_text);
  const description = new JinjaTemplate(own.description);
  const { samples } = examples;
  const choices = choicesOf(own);
  const answer = answerOf(own, choices !== undefined);
  const stop = sampling.until ?? [own.fewshot_delimiter];
  const greedy = sampling.do_sample !== true;
  return {
    name: own.task,
    version: own.metadata.version,
    source: own.source,
    follows: path,
    kind: type === 'generate_until' ? 'generate' : type === 'loglikelihood_rolling' ? 'text' : 'choices',
    shots: own.num_fewshot,
    draw: examples.sampler === 'first_n' ? 'first' : 'random',
    answerDelimiter: own.target_delimiter,
    shotDelimiter: own.fewshot_delimiter,
    generation: {
      stop,
      ...(sampling.max_gen_toks === undefined ? {} : { maxTokens: sampling.max_gen_toks }),
      ...(greedy || sampling.temperature === undefined ? {} : { temperature: sampling.temperature }),
      ...(greedy || sampling.top_p === undefined ? {} : { topP: sampling.top_p }),
    },
    prompt: type === 'loglikelihood_rolling' ? `${own.doc_to_target}` : own.doc_to_text,
    documents: () => read(data.test),
    ...(samples ? { examples: () => Promise.resolve(samples) } : {}),
    ...(!samples && data.train ? { examples: () => read(data.train!) } : {}),
    preamble: (doc) => description.render(doc),
    question: type === 'loglikelihood_rolling' ? (doc) => `${answer(doc)}` : (doc) => question.render(doc),
    answer,
    ...(choices ? { choices } : {}),
    ...scoringOf(own, answer, choices),
  };
}

/** Rows of a table get the names in its first row; lines of a text file are the field `text`. */
function withFields(rows: readonly Row[]): readonly Row[] {
  const [first] = rows;
  if (typeof first?.value === 'string') return rows.map(({ value, source }) => ({ value: { text: value }, source }));
  if (!Array.isArray(first?.value)) return rows;
  const names = first.value as string[];
  return rows.slice(1).map(({ value, source }) => ({
    value: Object.fromEntries(names.map((name, i) => [name, (value as string[])[i] ?? ''])),
    source,
  }));
}

/** A field's name stands for the field. */
function templateOf(text: string): JinjaTemplate {
  return new JinjaTemplate(/^[A-Za-z_]\w*$/.test(text) ? `{{${text}}}` : text);
}

/** The choices of a document; a single continuation is its target. */
function choicesOf(own: OwnTask): ((doc: Fields) => readonly string[]) | undefined {
  const { output_type: type, doc_to_choice: choice } = own;
  if (type === 'loglikelihood') {
    const target = templateOf(`${own.doc_to_target}`);
    return (doc) => [target.render(doc)];
  }
  if (type !== 'multiple_choice') return undefined;
  if (choice === undefined) throw new BtsError('BAD_TASK', `'${own.task}' is a multiple choice without doc_to_choice.`);
  if (Array.isArray(choice)) {
    const templates = choice.map((text) => new JinjaTemplate(text));
    return (doc) => templates.map((template) => template.render(doc));
  }
  const template = templateOf(choice);
  const fail = (reason: string) => new BtsError('BAD_TASK', `'${own.task}': doc_to_choice gives no texts: ${reason}.`);
  return (doc) => check(z.array(z.string()).min(1), template.value(doc), fail);
}

/** What a document's answer is: with choices, an index or the text of one. */
function answerOf(
  { task, output_type: type, doc_to_target: target }: OwnTask,
  hasChoices: boolean,
): (doc: Fields) => Answer {
  if (type === 'loglikelihood') return () => 0;
  if (typeof target === 'number') return () => target;
  const template = templateOf(target);
  return (doc) => {
    const value = template.value(doc);
    if (Array.isArray(value)) return value.map(String);
    if (typeof value === 'number') return hasChoices ? value : `${value}`;
    if (typeof value !== 'string') {
      throw new BtsError(
        'BAD_TASK',
        `'${task}': doc_to_target gives ${JSON.stringify(value)}, expected text, number or list.`,
      );
    }
    return hasChoices && /^\d+$/.test(value) ? Number(value) : value;
  };
}

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
): Pick<Task<Fields>, 'metrics' | 'score'> {
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
