/**
 * The tasks against lm-eval 0.4.13: contexts, targets, stop strings, what filters find and how it scores, and the rules for
 * answers in LaTeX. The reference is $BTS_EVAL_GOLDEN (default: ../shared/data/benchmarks/lm_eval_golden.json); the
 * documents lie in its folder or in $BTS_EVAL_DATA.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import {
  finalAnswer,
  isEquivalent,
  lastBoxed,
  normalizeFinalAnswer,
  removeBox,
  stripAnswer,
} from '../../lib/eval/metrics/math-answers.js';
import { buildContexts, continuations, showExample } from '../../lib/eval/prompt.js';
import { resolveTasks } from '../../lib/eval/registry.js';
import { Sandbox } from '../../lib/eval/sandbox/sandbox.js';
import type { Task, Tools } from '../../lib/eval/task.js';
import { shared } from '../support/devices.js';

interface Example {
  context: string;
  target: string | number | string[];
  continuations?: string[];
}
interface Case {
  response: string;
  filters: Record<string, { extracted: string; scores: Record<string, number> }>;
}
interface Golden {
  task: string;
  num_fewshot: number;
  output_type: 'multiple_choice' | 'generate_until';
  sampler: 'first_n' | 'default';
  until: string[] | null;
  max_gen_toks: number | null;
  examples: Example[];
  extraction?: { doc: Record<string, unknown>; cases: Case[] };
}
interface Strings {
  math500?: {
    unique_id: string;
    last_boxed: string;
    remove_boxed: string;
    minerva_normalized: string;
    hendrycks_stripped: string;
  }[];
  hendrycks_is_equiv?: { a: string; b: string; equal: boolean; strip_a: string; strip_b: string }[];
  minerva_get_unnormalized_answer?: { text: string; answer: string; normalized: string }[];
}

const shipped = shared('data/benchmarks/lm_eval_golden.json');
const path = process.env.BTS_EVAL_GOLDEN ?? shipped;
const besideShipped = dirname(shipped);
const root = process.env.BTS_EVAL_DATA ?? (existsSync(`${dirname(path)}/gsm8k`) ? dirname(path) : besideShipped);

const goldens = suite('benchmarks');
const content = existsSync(path) ? JSON.parse(await readFile(path, 'utf8')) : undefined;
if (!content) console.log(`benchmarks: skipped, there is no ${path}`);
const data = new DataFolder(root);

/** The shots of a context that were drawn by a generator in an unknown state: as many as asked for, all from the pool. */
function expectFormat(task: Task, doc: unknown, pool: readonly unknown[], shots: number, context: string): void {
  const preamble = task.preamble?.(doc) ?? '';
  assert.ok(context.startsWith(preamble) && context.endsWith(task.question(doc)));
  let rest = context.slice(preamble.length, context.length - task.question(doc).length);
  const shown = pool.map((example) => showExample(task, example));
  let count = 0;
  for (; rest !== ''; count++) {
    const next = shown.find((example) => rest.startsWith(example));
    assert.ok(next, `no example of '${task.name}' begins like ${JSON.stringify(rest.slice(0, 200))}`);
    rest = rest.slice(next.length);
  }
  assert.is(count, shots);
}

async function open(name: string, shots = 0) {
  const task = resolveTasks([name])[0]!.tasks[0]!;
  const documents = await task.documents(data);
  const pool = shots > 0 && task.examples ? await task.examples(data) : documents;
  return { task, documents, pool };
}

for (const [name, golden] of Object.entries((content?.tasks ?? {}) as Record<string, Golden>)) {
  goldens(`${name}: contexts, targets, continuations and stop strings are lm-eval's`, async () => {
    const { num_fewshot: shots, examples, until } = golden;
    const { task, documents, pool } = await open(golden.task, shots);
    assert.is(task.kind, golden.output_type === 'multiple_choice' ? 'choices' : 'generate');
    assert.is(task.draw, golden.sampler === 'first_n' ? 'first' : 'random');
    assert.ok(examples.length > 0);
    for (const example of examples) {
      const asked = documents.filter((doc) => example.context.endsWith(task.question(doc)));
      assert.ok(asked.length > 0, `no document of '${task.name}' is asked in ${example.context.slice(-200)}`);
      const doc = asked.reduce((a, b) => (task.question(b).length > task.question(a).length ? b : a));
      const [context] = buildContexts(task, [doc], pool, shots);
      if (golden.sampler === 'default' && path !== shipped) expectFormat(task, doc, pool, shots, example.context);
      else assert.is(context, example.context);
      assert.equal(task.answer(doc), example.target);
      if (example.continuations) assert.equal(continuations(task, doc), example.continuations);
    }
    if (until) assert.equal(task.generation!.stop, until);
    if (golden.output_type === 'generate_until') assert.is(task.generation!.maxTokens ?? null, golden.max_gen_toks);
  });

  if (!golden.extraction) continue;
  goldens(`${name}: what filters find in responses, and its scores, are lm-eval's`, async () => {
    const { doc: row, cases } = golden.extraction!;
    const { task, documents } = await open(golden.task);
    const text = (row.question ?? row.input ?? row.problem ?? row.prompt) as string;
    const doc = documents.find((candidate) => task.question(candidate).includes(text));
    assert.ok(doc, `'${task.name}' does not ask ${text.slice(0, 200)}`);
    assert.ok(cases.length > 0);
    const tools = (task.runsCode ? { sandbox: await Sandbox.open() } : {}) as Tools;
    for (const { response, filters } of cases) {
      const { items, extracted } = await task.score(doc, { texts: [response] }, tools);
      for (const [filter, want] of Object.entries(filters)) {
        assert.is(extracted![filter], want.extracted, `${filter} of ${JSON.stringify(response)}`);
        for (const [metric, score] of Object.entries(want.scores)) {
          const key = `${metric},${filter}`;
          if (task.metrics.some((known) => known.key === key)) {
            assert.is(items[key], score, `${metric} of ${JSON.stringify(response)} by ${filter}`);
          } else {
            console.log(`${task.name}: ${key} skipped, it is not computed`);
          }
        }
      }
    }
  });
}

const strings = content?.math_answer_strings as Strings | undefined;
if (strings) {
  goldens('answers of MATH are found and normalized as lm-eval does', async () => {
    const { documents } = await open('minerva_math500');
    const solutions = await readFile(`${root}/math/math500_test.jsonl`, 'utf8');
    const ids = solutions
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { unique_id: string }).unique_id);
    for (const want of strings.math500 ?? []) {
      const { solution } = documents[ids.indexOf(want.unique_id)] as { solution: string };
      const boxed = lastBoxed(solution);
      assert.is(boxed, want.last_boxed, want.unique_id);
      assert.is(removeBox(boxed), want.remove_boxed, want.unique_id);
      assert.is(normalizeFinalAnswer(removeBox(boxed)!), want.minerva_normalized, want.unique_id);
      assert.is(stripAnswer(removeBox(boxed)!), want.hendrycks_stripped, want.unique_id);
    }
  });

  goldens('answers of MATH are equal where lm-eval finds them equal', () => {
    for (const { a, b, equal, strip_a, strip_b } of strings.hendrycks_is_equiv ?? []) {
      assert.is(isEquivalent(a, b), equal, `${a} and ${b}`);
      assert.is(stripAnswer(a), strip_a);
      assert.is(stripAnswer(b), strip_b);
    }
  });

  goldens("final answers in Minerva's form are lm-eval's", () => {
    for (const { text, answer, normalized } of strings.minerva_get_unnormalized_answer ?? []) {
      assert.is(finalAnswer(text), answer, text);
      assert.is(normalizeFinalAnswer(answer), normalized, text);
    }
  });
}

goldens.run();
