import { BtsError } from '../base/errors.js';
import { PythonRandom } from '../python/random.js';
import type { Answer, Task } from './task.js';

/** lm-eval's seed for drawing examples. */
const EXAMPLE_SEED = 1234;

/**
 * The contexts that models see, in the order of the documents: preamble, examples, question. Examples that are drawn are
 * lm-eval's, which depend on how many documents came before: contexts are built from the first document on.
 *
 * Throws BAD_OPTION where there are fewer examples than `shots`.
 */
export function buildContexts(
  task: Task,
  documents: readonly unknown[],
  pool: readonly unknown[],
  shots: number,
): string[] {
  const random = new PythonRandom(EXAMPLE_SEED);
  expectExamples(task, pool, shots);
  return documents.map((doc) => {
    const examples = shots === 0 ? [] : drawExamples(task, doc, pool, shots, random);
    const preamble = task.preamble?.(doc) ?? '';
    return `${preamble}${examples.map((example) => showExample(task, example)).join('')}${task.question(doc)}`;
  });
}

/** Throws BAD_OPTION where `pool` has fewer than `shots` examples for a document. */
export function expectExamples(task: Task, pool: readonly unknown[], shots: number): void {
  // A document is no example of itself.
  const most = task.examples ? pool.length : pool.length - 1;
  if (shots > 0 && shots > most) {
    throw new BtsError('BAD_OPTION', `'${task.name}' has ${most} examples to show, not ${shots}.`);
  }
}

function drawExamples(
  task: Task,
  doc: unknown,
  pool: readonly unknown[],
  shots: number,
  random: PythonRandom,
): readonly unknown[] {
  const ownPool = task.examples === undefined;
  if (task.draw === 'first') return pool.filter((example) => !ownPool || example !== doc).slice(0, shots);
  if (!ownPool) return random.sample(pool, shots);
  return random
    .sample(pool, shots + 1)
    .filter((example) => example !== doc)
    .slice(0, shots);
}

/** A question with its answer and what stands behind it. */
export function showExample(task: Task, doc: unknown): string {
  const answer = answerText(task, doc, (task.exampleAnswer ?? task.answer).call(task, doc));
  const { answerDelimiter = ' ', shotDelimiter = '\n\n' } = task;
  const shown = answer === '' ? '' : `${answerDelimiter}${answer}${shotDelimiter}`;
  return `${task.question(doc)}${shown}`;
}

/** What is scored after a context, one text for each choice. */
export function continuations(task: Task, doc: unknown): string[] {
  return task.choices!(doc).map((choice) => `${task.answerDelimiter ?? ' '}${choice}`);
}

function answerText(task: Task, doc: unknown, answer: Answer): string {
  if (typeof answer === 'number') return task.choices!(doc)[answer]!;
  return typeof answer === 'string' ? answer : (answer[0] ?? '');
}
