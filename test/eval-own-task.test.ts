import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DataFolder } from '../lib/eval/data/data-folder.js';
import { JinjaTemplate } from '../lib/eval/own/jinja.js';
import { readOwnTask } from '../lib/eval/own/own-task.js';
import { buildContexts, continuations } from '../lib/eval/prompt.js';
import type { Tools } from '../lib/eval/task.js';
import { fails, inFolder } from './data-fixtures.js';

const CAPITALS = `
task: capitals
data: {test: data/test.jsonl, train: data/train.jsonl}
output_type: generate_until
description: "Answer in one word.\\n\\n"
doc_to_text: "Q: What is the capital of {{country}}?\\nA:"
doc_to_target: "{{capital}}"
num_fewshot: 1
fewshot_config: {sampler: first_n}
generation_kwargs: {until: "\\n", max_gen_toks: 16, do_sample: true, temperature: 0.5}
filter_list:
  - name: last-word
    filter:
      - {function: regex, regex_pattern: '(\\w+)\\W*$', group_select: -1}
      - {function: lowercase}
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
metadata: {version: 2}
`;
const DATA = {
  'data/test.jsonl': '{"country":"France","capital":"Paris"}\n',
  'data/train.jsonl': '{"country":"Peru","capital":"Lima"}\n{"country":"Chad","capital":"N\'Djamena"}\n',
};

test('a task of texts has the prompts, filters and metrics that its file says', async () => {
  await inFolder({ 'capitals.yaml': CAPITALS, ...DATA }, async (folder) => {
    const task = await readOwnTask(join(folder, 'capitals.yaml'));
    assert.equal([task.name, task.version, task.kind, task.shots, task.draw], ['capitals', 2, 'generate', 1, 'first']);
    assert.equal(task.generation, { stop: ['\n'], maxTokens: 16, temperature: 0.5 });
    const data = new DataFolder('/nowhere');
    const documents = await task.documents(data);
    const [context] = buildContexts(task, documents, await task.examples!(data), 1);
    const question = (country: string) => `Q: What is the capital of ${country}?\nA:`;
    assert.is(context, `Answer in one word.\n\n${question('Peru')} Lima\n\n${question('France')}`);
    const outcome = await task.score(documents[0]!, { texts: ['I think it is PARIS.'] }, {} as Tools);
    assert.equal(outcome, { items: { 'exact_match,last-word': 1 }, extracted: { 'last-word': 'paris' } });
  });
});

test('a task of choices takes them from a list, a field or an expression', async () => {
  const rows = '{"q":"1+1?","options":["one","two"],"right":1}\n';
  for (const [choice, target] of [
    ['["{{options[0]}}", "{{options[1]}}"]', 'right'],
    ['options', '"{{right}}"'],
    ['"{{options}}"', '"{{options[right]}}"'],
  ]) {
    const file = `{task: sums, data: t.jsonl, output_type: multiple_choice, doc_to_text: "{{q}}", doc_to_choice: ${choice},
      doc_to_target: ${target}, metric_list: [{metric: acc}, {metric: acc_norm}]}`;
    await inFolder({ 'sums.json': file, 't.jsonl': rows }, async (folder) => {
      const task = await readOwnTask(join(folder, 'sums.json'));
      const [doc] = await task.documents(new DataFolder(folder));
      assert.equal(continuations(task, doc), [' one', ' two']);
      const choices = [-3, -2].map((logProbability) => ({ logProbability, isGreedy: false }));
      assert.equal((await task.score(doc!, { choices }, {} as Tools)).items, { 'acc,none': 1, 'acc_norm,none': 1 });
    });
  }
});

test('a task of texts to be scored, and one of single continuations', async () => {
  await inFolder({ 't.jsonl': '{"page":"two words"}\n' }, async (folder) => {
    await writeFile(
      join(folder, 'a.yaml'),
      'task: a\ndata: t.jsonl\noutput_type: loglikelihood_rolling\ndoc_to_target: page\n',
    );
    const text = await readOwnTask(join(folder, 'a.yaml'));
    const [doc] = await text.documents(new DataFolder(folder));
    assert.equal([text.kind, text.question(doc!)], ['text', 'two words']);
    const { items } = await text.score(doc!, { logProbability: -9 }, {} as Tools);
    assert.equal(items['byte_perplexity,none'], { sum: -9, weight: 9 });
    assert.ok(Math.abs(text.metrics[1]!.aggregate([items['byte_perplexity,none']!]).value - Math.E) < 1e-12);

    const file =
      'task: b\ndata: t.jsonl\noutput_type: loglikelihood\ndoc_to_text: "A page:"\ndoc_to_target: "{{page}}"\n';
    await writeFile(join(folder, 'b.yaml'), file);
    const one = await readOwnTask(join(folder, 'b.yaml'));
    assert.equal(continuations(one, doc), [' two words']);
    const choices = [{ logProbability: -1, isGreedy: true }];
    const scored = await one.score(doc!, { choices }, {} as Tools);
    assert.equal(scored.items, { 'acc,none': 1, 'perplexity,none': -1 });
    assert.ok(Math.abs(one.metrics[1]!.aggregate([-1, -1]).value - Math.E) < 1e-12);
  });
});

test('examples come from the documents themselves where there are no others, but for the one that is asked', async () => {
  const file =
    'task: a\ndata: t.jsonl\noutput_type: generate_until\ndoc_to_text: q\ndoc_to_target: a\nnum_fewshot: 2\n';
  const rows = Array.from({ length: 3 }, (_, i) => `{"q":"q${i}","a":"a${i}"}\n`).join('');
  await inFolder({ 'a.yaml': file, 't.jsonl': rows }, async (folder) => {
    const task = await readOwnTask(join(folder, 'a.yaml'));
    const documents = await task.documents(new DataFolder(folder));
    for (const [i, context] of buildContexts(task, documents, documents, 2).entries()) {
      assert.is(context.split('\n\n').length, 3);
      assert.ok(context.endsWith(`q${i}`) && !context.includes(`a${i}`));
    }
    await fails(() => buildContexts(task, documents, documents, 3), 'BAD_OPTION', /'a' has 2 examples to show, not 3/);
  });
});

test('rows come from tables with a header, and from lines of text', async () => {
  const file = (data: string) => `{task: a, data: ${data}, output_type: loglikelihood_rolling, doc_to_target: text}`;
  const files = {
    'a.yaml': file('t.csv'),
    'b.yaml': file('t.txt'),
    't.csv': 'id,text\n1,"one, two"\n',
    't.txt': 'x\ny\n',
  };
  await inFolder(files, async (folder) => {
    const rows = async (name: string) => {
      const task = await readOwnTask(join(folder, name));
      return (await task.documents(new DataFolder(folder))).map(task.question);
    };
    assert.equal(await rows('a.yaml'), ['one, two']);
    assert.equal(await rows('b.yaml'), ['x', 'y']);
  });
});

test('what is wrong in a file is named', async () => {
  const base = { task: 'a', data: 't.jsonl', output_type: 'generate_until', doc_to_target: 'x' };
  const cases: [unknown, RegExp][] = [
    ['task: [', /a\.yaml/],
    ['metric_list: [!function utils.f]', /functions in Python/],
    [{ ...base, task: undefined }, /task: /],
    [{ ...base, output_type: 'sing' }, /output_type/],
    [{ ...base, colour: 'red' }, /colour/],
    [{ ...base, doc_to_text: '{{' }, /malformed/],
    [{ ...base, metric_list: [{ metric: 'acc' }] }, /'acc' is no metric of generate_until: they are exact_match/],
    [{ ...base, output_type: 'multiple_choice' }, /without doc_to_choice/],
    [
      { ...base, filter_list: [{ name: 'f', filter: [{ function: 'regex', regex_pattern: '(' }] }] },
      /regular expression/,
    ],
  ];
  for (const [content, message] of cases) {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    await inFolder({ 'a.yaml': text }, async (folder) => {
      const code = message.source.includes('regular') ? 'BAD_OPTION' : 'BAD_TASK';
      await fails(() => readOwnTask(join(folder, 'a.yaml')), code, message);
    });
  }
  await fails(() => readOwnTask('/nowhere/a.yaml'), 'FILE_NOT_FOUND', /nowhere/);
});

test("templates are read as lm-eval's Jinja reads them", async () => {
  const doc = { question: 'what?', answer: 'so #### 42 ', list: ['a', 'b'], n: 7, nothing: null };
  const rendered = (template: string) => new JinjaTemplate(template).render(doc);
  assert.is(rendered('Q: {{question}}\nA:\n'), 'Q: what?\nA:\n');
  assert.is(rendered("{{answer.split('####')[-1].strip()}}"), '42');
  assert.is(rendered('{% if nothing is not none %}x{% else %}{{question}}{% endif %}\n|'), 'what?\n|');
  assert.is(rendered('{{answer[3:]}}{{n|string}}'), '#### 42 7');
  assert.equal(new JinjaTemplate('{{list}}').value(doc), ['a', 'b']);
  assert.is(new JinjaTemplate('{{n}}').value(doc), 7);
  assert.is(new JinjaTemplate('n={{n}}').value(doc), 'n=7');
  await fails(() => rendered('{{questoin}}'), 'BAD_TASK', /asks for 'questoin'; rows have question, answer/);
  await fails(() => rendered('{{ question | unheard_of }}'), 'BAD_TASK', /fails/);
});

test.run();
