import type { ContinuationScore } from '../model/requests/request.js';
import type { DataFolder } from './data/data-folder.js';
import type { Sandbox } from './sandbox/sandbox.js';

/** What a document is to be answered with: a text, one of several texts, or the index of a choice. */
export type Answer = string | readonly string[] | number;

/** What a model answers. */
export interface Response {
  /** To a multiple choice: one score for each choice. */
  choices?: readonly ContinuationScore[];
  /** To a prompt: one text for each repeat. */
  texts?: readonly string[];
  /** To a text that is to be scored: its log-probability in nats. */
  logProbability?: number;
}

/** What a metric notes of one document: a number, two to be divided in the end, or texts that are compared as a corpus. */
export type Item = number | { sum: number; weight: number } | { hypothesis: string; references: readonly string[] };

/** How one document was answered. */
export interface Outcome {
  /** By metric key. */
  items: Record<string, Item>;
  /** What each filter found in the response. */
  extracted?: Record<string, string>;
}

/** A number over documents. */
export interface Estimate {
  /** In the metric's unit. */
  value: number;
  /** The standard error; null where there is no estimate of it. */
  standardError: number | null;
}

/** One number of a task. */
export interface Metric {
  /** As lm-eval writes it: 'acc,none', 'exact_match,strict-match'. */
  key: string;
  /** Whether more of it is better. */
  higherIsBetter: boolean;
  /** What a table multiplies the value with; 100 for fractions. */
  scale: number;
  /** The number over all documents. */
  aggregate(items: readonly Item[]): Estimate;
}

/** How answers are written. */
export interface Generation {
  /** Generation ends before any of these. */
  stop: readonly string[];
  /** Default 256. */
  maxTokens?: number;
  /** Default 0: the likeliest tokens. */
  temperature?: number;
  /** Sampling among the likeliest tokens of this probability; default 1. */
  topP?: number;
  /** How many texts to generate for each document; default 1. */
  repeats?: number;
}

/** What scoring may need. */
export interface Tools {
  /** Runs programs that models wrote. */
  sandbox: Sandbox;
  /** Ends a program that runs. */
  signal?: AbortSignal | undefined;
}

/**
 * A benchmark: its documents, how they are shown to a model, and how answers are scored. All reduce to three requests:
 * score continuations (`choices`), score a text (`text`), generate until a stop string (`generate`).
 */
export interface Task<Doc = unknown> {
  /** By which it is asked for. */
  readonly name: string;
  /** Rises with every change that changes scores. */
  readonly version: number;
  /** Where the documents come from. */
  readonly source: string;
  /** Whose setting this is, and where another's differs. */
  readonly follows: string;
  /** How it is answered: by the likeliest choice, by writing, or by the loss of a text. */
  readonly kind: 'choices' | 'generate' | 'text';
  /** Answered examples before each question. */
  readonly shots: number;
  /** Which: the first of the pool, or a draw of its own for each document. */
  readonly draw: 'first' | 'random';
  /** Of tasks that are answered by writing. */
  readonly generation?: Generation;
  /** Whether scoring runs what the model wrote. */
  readonly runsCode?: true;
  /** Between question and answer, and behind each example; default ' ' and two newlines. */
  readonly answerDelimiter?: string;
  /** Between answered examples; default an empty line. */
  readonly shotDelimiter?: string;
  /** The first is the one in tables. */
  readonly metrics: readonly Metric[];
  /** What `question` shows, with `{name}` for what documents fill in. */
  readonly prompt: string;
  /** The documents to be answered. Throws FILE_NOT_FOUND, BAD_DATA. */
  documents(data: DataFolder): Promise<readonly Doc[]>;
  /** Where examples come from; default: the documents themselves, but for the one that is asked. */
  examples?(data: DataFolder): Promise<readonly Doc[]>;
  /** What stands before all examples. */
  preamble?(doc: Doc): string;
  /** What stands before the answer. */
  question(doc: Doc): string;
  /** What is right: a text, several, or the number of a choice. */
  answer(doc: Doc): Answer;
  /** The answer as an example has it, where that is another. */
  exampleAnswer?(doc: Doc): Answer;
  /** The texts to choose among. */
  choices?(doc: Doc): readonly string[];
  /** What an answer is worth, by metric. */
  score(doc: Doc, response: Response, tools: Tools): Outcome | Promise<Outcome>;
}

/** Several tasks reported as one number. */
export interface Group {
  /** By which it is asked for. */
  readonly name: string;
  /** For lists. */
  readonly description: string;
  /** Names of its tasks. */
  readonly members: readonly string[];
  /** Whether tasks count by their documents; else all count the same. */
  readonly weightBySize: boolean;
}
