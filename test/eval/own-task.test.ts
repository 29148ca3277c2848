import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import type { Fields } from '../../lib/eval/own/document.js';
import { JinjaTemplate } from '../../lib/eval/own/jinja.js';
import { readOwnTask } from '../../lib/eval/own/own-task.js';
import { buildContexts, continuations, showExample } from '../../lib/eval/prompt.js';
import type { Task, Tools } from '../../lib/eval/task.js';
import { fails, inFolder } from '../data/data-fixtures.js';

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
    [{ ...base, doc_to_txt: 'x' }, /"doc_to_txt" \(is it 'doc_to_text'/],
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

/** A task over rows of JSON, and its documents. */
async function withTask(
  file: Record<string, unknown>,
  rows: string,
  check: (task: Task<Fields>, documents: readonly Fields[]) => void | Promise<void>,
): Promise<void> {
  const content = JSON.stringify({ task: 'mine', data: 't.jsonl', ...file });
  await inFolder({ 'mine.yaml': content, 't.jsonl': rows }, async (folder) => {
    const task = await readOwnTask(join(folder, 'mine.yaml'));
    await check(task, await task.documents(new DataFolder(folder)));
  });
}

const CHOICE = { output_type: 'multiple_choice', doc_to_text: '{{q}}', doc_to_choice: ['no', 'yes'] };
const TEXT = { output_type: 'generate_until', doc_to_text: '{{q}}', doc_to_target: '{{a}}' };

test('the words of well-known tasks mean what they mean in lm-eval', async () => {
  const arc = '{"question":"Q?","choices":{"text":["r","g","b"],"label":["A","B","C"]},"answerKey":"C"}\n';
  await withTask(
    {
      output_type: 'multiple_choice',
      doc_to_text: 'Question: {{question}}\nAnswer:',
      doc_to_target: '{{choices.label.index(answerKey)}}',
      doc_to_choice: '{{choices.text}}',
    },
    arc,
    (task, [doc]) => {
      assert.equal([task.question(doc!), task.answer(doc!)], ['Question: Q?\nAnswer:', 2]);
      assert.equal(continuations(task, doc), [' r', ' g', ' b']);
    },
  );
  const options =
    "{% for i in range(choices['text']|length) %}{{ 'ABCD'[i] }}. {{ choices['text'][i] }}\n{% endfor %}" +
    '{% if hint is defined %}Hint: {{hint}}{% else %}{{ choices.text|join("; ") }}{% endif %}';
  await withTask(
    { ...TEXT, doc_to_text: options, doc_to_target: "{{ 'ABCD'[choices.label.index(answerKey)] }}" },
    arc,
    (task, [doc]) => {
      assert.equal([task.question(doc!), task.answer(doc!)], ['A. r\nB. g\nC. b\nr; g; b', 'C']);
    },
  );
  await withTask(
    { ...CHOICE, doc_to_choice: '{{[sol1, sol2]}}', doc_to_target: 'label' },
    '{"q":"Q","sol1":"it\'s","sol2":"\\"b\\"\\n","label":1}\n',
    (task, [doc]) => assert.equal([task.answer(doc!), ...task.choices!(doc!)], [1, "it's", '"b"\n']),
  );
  await withTask(
    {
      ...CHOICE,
      doc_to_text: '{{q}}\n{{"Answer:"}}\n',
      doc_to_target: "{{['A','B'].index(answer)}}",
      doc_to_choice: '["a", "b"]',
    },
    '{"q":"Q","answer":"B"}\n',
    (task, [doc]) =>
      assert.equal([task.question(doc!), task.answer(doc!), task.choices!(doc!)], ['Q\nAnswer:\n', 1, ['a', 'b']]),
  );
});

test("a single continuation has one blank before it, the file's or its own", async () => {
  const lambada = { output_type: 'loglikelihood', doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}" };
  const rows = '{"text":"the quick fox"}\n';
  for (const doc_to_target of ["{{' '+text.split(' ')[-1]}}", "{{text.split(' ')[-1]}}"]) {
    await withTask({ ...lambada, doc_to_target }, rows, (task, [doc]) => {
      assert.equal([task.question(doc!), ...continuations(task, doc)], ['the quick', ' fox']);
      assert.is(showExample(task, doc), 'the quick fox\n\n');
    });
  }
});

test('an answer is a boolean, a number, a digit or a text: with choices the index of one', async () => {
  const answers = async (file: object, rows: string) => {
    let all: unknown[] = [];
    await withTask({ ...CHOICE, ...file }, rows, (task, documents) => {
      all = documents.map((doc) => task.answer(doc));
    });
    return all;
  };
  const booleans = '{"q":"Q","answer":true}\n{"q":"Q","answer":false}\n';
  assert.equal(await answers({ doc_to_target: 'answer' }, booleans), [1, 0], 'a column of booleans');
  assert.equal(await answers({ doc_to_target: '{{answer}}' }, booleans), [1, 0], 'a template prints True and False');
  assert.equal(await answers({ doc_to_target: '{{answer|int}}' }, booleans), [1, 0]);
  assert.equal(await answers({ doc_to_target: '{{"yes" if answer else "no"}}' }, booleans), [1, 0]);
  assert.equal(await answers({ doc_to_target: 'answer', doc_to_choice: ['True', 'False'] }, booleans), [1, 0]);
  assert.equal(await answers({ doc_to_target: '{{answer}}', doc_to_choice: ['True', 'False'] }, booleans), [0, 1]);
  assert.equal(await answers({ doc_to_target: '{{n - 1}}' }, '{"q":"Q","n":2}\n'), [1]);
  assert.equal(await answers({ doc_to_target: 'n' }, '{"q":"Q","n":1.0}\n'), [1]);
  assert.equal(await answers({ doc_to_target: 1 }, '{"q":"Q"}\n'), [1]);
  assert.equal(await answers({ doc_to_target: 'yes' }, '{"q":"Q"}\n'), [1], 'a word that is no column is itself');
  assert.equal(await answers({ doc_to_target: 'n', doc_to_choice: ['1', '0'] }, '{"q":"Q","n":"0"}\n'), [1], 'a text');
  assert.equal(await answers({ doc_to_target: 'n', doc_to_choice: ['a', 'b', 'c'] }, '{"q":"Q","n":[0,2]}\n'), [
    ['a', 'c'],
  ]);
  assert.equal(await answers({ doc_to_target: 'a', doc_to_choice: { x: 'u', y: 'v' } }, '{"q":"Q","a":"v"}\n'), [1]);
});

test('an answer without choices is a text, printed as Python prints it', async () => {
  const answer = async (target: unknown, row: string) => {
    let found: unknown;
    await withTask({ ...TEXT, doc_to_target: target }, `${row}\n`, (task, [doc]) => {
      found = task.answer(doc!);
    });
    return found;
  };
  assert.is(await answer('a', '{"a":true}'), 'True');
  assert.is(await answer('{{a}}', '{"a":1.0}'), '1.0');
  assert.is(await answer('a', '{"a":9007199254740993}'), '9007199254740993');
  assert.is(await answer('a', '{"a":"007"}'), '007');
  assert.is(await answer('{{a}}', '{"a":"007"}'), '007');
  assert.equal(await answer('a', '{"a":["x","it\'s",1.0]}'), ['x', "it's", '1.0']);
  assert.equal(await answer('{{a}}', '{"a":["x","it\'s"]}'), ['x', "it's"]);
  assert.is(await answer('{{a}}', '{"a":"[not, a list]"}'), '[not, a list]');
  assert.is(await answer('x', '{"a":1}'), 'x');
  assert.is(await answer(3, '{"a":1}'), '3');
  assert.is(await answer('{{a[0]}}', '{"a":{"0":"y"}}').catch((error) => error.code), 'BAD_TASK');
});

test('a choice that is generated is compared by its text', async () => {
  await withTask(
    { ...TEXT, doc_to_choice: ['no', 'yes'], doc_to_target: '{{a|int}}' },
    '{"q":"Q","a":true}\n',
    async (task, [doc]) => {
      assert.is(task.answer(doc!), 'yes');
      const { items } = await task.score(doc!, { texts: ['yes'] }, {} as Tools);
      assert.equal(items, { 'exact_match,none': 1 });
    },
  );
});

test('examples in the file itself keep what Python has of them', async () => {
  const file = `
task: mine
data: t.jsonl
output_type: generate_until
doc_to_text: "{{n}} {{flag}} {{big}}"
doc_to_target: "{{n}}"
num_fewshot: 1
fewshot_config: {sampler: first_n, samples: [{n: 1.0, flag: true, big: 123456789012345678901, "1": a}]}
`;
  await inFolder({ 'mine.yaml': file, 't.jsonl': '{"n":2,"flag":null,"big":1e3}\n' }, async (folder) => {
    const task = await readOwnTask(join(folder, 'mine.yaml'));
    const documents = await task.documents(new DataFolder(folder));
    const [context] = buildContexts(task, documents, await task.examples!(new DataFolder(folder)), 1);
    assert.is(context, '1.0 True 123456789012345678901 1.0\n\n2 None 1000.0');
  });
});

test('documents are plain objects, and those that a caller makes are shown too', async () => {
  await withTask(TEXT, '{"q":1.0,"a":[1,{"k":null}]}\n', (task, documents) => {
    assert.equal(documents, [{ q: 1, a: [1, { k: null }] }]);
    assert.is(task.question(documents[0]!), '1.0');
    assert.is(task.question({ q: 2, a: 'x' }), '2');
  });
});

test('what is wrong with a document is said with the task, the field, the row and the column', async () => {
  const cases: [object, string, RegExp][] = [
    [
      { ...TEXT, doc_to_text: '{{questoin}}' },
      '{"q":1,"a":2}',
      /^'mine', doc_to_text, .*t\.jsonl:1: .* asks for 'questoin'; rows have q, a\.$/,
    ],
    [{ ...TEXT, doc_to_text: '{% for x in q %}{{y}}{% endfor %}' }, '{"q":[1],"a":2}', /asks for 'y'; rows have q, a/],
    [{ ...TEXT, doc_to_text: '{{q.z}}' }, '{"q":{},"a":2}', /t\.jsonl:1: .*'dict object' has no attribute 'z'/],
    [{ ...TEXT, doc_to_text: '{{q.index("x")}}' }, '{"q":[],"a":2}', /ValueError: 'x' is not in list/],
    [
      { ...TEXT, doc_to_text: 'q' },
      '{"q":[1],"a":2}',
      /its column 'q' has neither text nor number where text was expected/,
    ],
    [{ ...TEXT, doc_to_target: 'a' }, '{"q":"x","a":null}', /doc_to_target, .*t\.jsonl:1: the answer is None/],
    [{ ...CHOICE, doc_to_target: '{{a}}' }, '{"q":"x","a":"maybe"}', /the answer "maybe" is none of the 2 choices/],
    [{ ...CHOICE, doc_to_target: 'a' }, '{"q":"x","a":-1}', /the answer -1 is none of the 2 choices/],
    [{ ...CHOICE, doc_to_target: 'a' }, '{"q":"x","a":2}', /the answer 2 is none/],
    [
      { ...CHOICE, doc_to_choice: '{{q}}', doc_to_target: 'a' },
      '{"q":"x","a":0}',
      /doc_to_choice, .*gives no list of texts but "x"/,
    ],
    [{ ...CHOICE, doc_to_text: 'q', doc_to_target: 'a' }, '{"q":1,"a":0}', /the question is the number 1/],
  ];
  for (const [file, row, message] of cases) {
    await withTask(file as Record<string, unknown>, `${row}\n`, async (task, [doc]) => {
      await fails(() => [task.question(doc!), task.answer(doc!)], 'BAD_TASK', message);
    });
  }
  await withTask({ ...TEXT, doc_to_text: 'q' }, '{"q":"x","a":1}\n{"a":2}\n', async (task, documents) => {
    assert.is(task.question(documents[0]!), 'x');
    await fails(() => task.question(documents[1]!), 'BAD_TASK', /t\.jsonl:2: it has no column 'q', other rows do/);
  });
});

test('functions in Python and other files are refused by name, words about them are not', async () => {
  const base = 'task: mine\ndata: t.jsonl\noutput_type: generate_until\ndoc_to_target: "!function include"\n';
  const read = (file: string) =>
    inFolder({ 'a.yaml': file }, async (folder) => void (await readOwnTask(join(folder, 'a.yaml'))));
  await read(`${base}# !function utils.f\n`);
  await fails(
    () => read(`${base}process_docs: !function utils.f\n`),
    'BAD_TASK',
    /'!function utils\.f': functions in Python cannot run here/,
  );
  await fails(() => read(`${base}metric_list: [{metric: !function utils.acc}]\n`), 'BAD_TASK', /!function utils\.acc/);
  await fails(
    () => read(`include: _base.yaml\n${base}`),
    'BAD_TASK',
    /'include: "_base\.yaml"', which cannot be followed here\. Copy/,
  );
  await fails(() => read('include: _base.yaml\ntask: mine\n'), 'BAD_TASK', /include/);
  await fails(() => read(`${base}process_results: utils.f\n`), 'BAD_TASK', /process_results/);
});

test('scoring ends, whatever the regular expressions of a file are', async () => {
  const filter_list = [{ name: 'f', filter: [{ function: 'regex', regex_pattern: '(a+)+$' }] }];
  await withTask({ ...TEXT, filter_list }, '{"q":"x","a":"y"}\n', async (task, [doc]) => {
    const texts = [`${'a'.repeat(60)}b`];
    await fails(
      () => task.score(doc!, { texts }, {} as Tools),
      'BAD_TASK',
      /'mine': scoring one answer takes more than 5 seconds/,
    );
  });
});

test.run();
