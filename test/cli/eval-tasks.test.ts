import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { callCli, runCli, startCli, until } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

const QUESTIONS = 12;

/** Two models, a benchmark in its original format and tasks of the user's, in a new folder. */
async function inProject(use: (folder: string, args: string[]) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const config = { ...CONFIGS.llama, maxPositions: 256 };
    for (const [seed, name] of ['one', 'two'].entries()) {
      await writeModel(device, join(folder, name), { config, seed: seed + 1 });
    }
    const lines = (row: (i: number) => unknown) =>
      Array.from({ length: QUESTIONS }, (_, i) => `${JSON.stringify(row(i))}\n`).join('');
    await writeFile(
      join(folder, 'sums.jsonl'),
      lines((i) => ({ a: i, b: 2 * i, sum: `${3 * i}`, choices: [`${3 * i}`, `${i}`, 'x'] })),
    );
    const head = 'data: sums.jsonl\ndoc_to_text: "{{a}} + {{b}} ="\n';
    await writeFile(
      join(folder, 'choose.yaml'),
      `task: choose\n${head}output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: 0\nnum_fewshot: 2\n`,
    );
    await writeFile(
      join(folder, 'write.yaml'),
      `task: write\n${head}output_type: generate_until\ndoc_to_target: "{{sum}}"
generation_kwargs: {until: ["="], max_gen_toks: 12, do_sample: true, temperature: 1}
metric_list: [{metric: chrf}, {metric: exact_match}]\n`,
    );
    await use(folder, ['--tasks', `${join(folder, 'choose.yaml')},${join(folder, 'write.yaml')}`, '--threads', '1']);
  });
}

const lines = async (path: string) => (await readFile(path, 'utf8')).trim().split('\n');

test('eval prints a table of benchmarks over models, the best of each column marked', async () => {
  await inProject(async (folder, args) => {
    const models = [join(folder, 'one'), join(folder, 'two')];
    const table = await callCli('eval', ...models, ...args);
    assert.is(table.error, undefined);
    const [head, , one, two] = table.stdout.split('\n');
    assert.match(head!, /^model +choose +write$/);
    assert.match(one!, /one +\d+\.\d/);
    assert.match(two!, /two +\d+\.\d/);
    assert.match(table.stdout, '*');
    const markdown = await callCli('eval', ...models, ...args, '--markdown');
    assert.match(markdown.stdout, /^\| model +\| +choose \| +write \|/);
    assert.match(markdown.stdout, /\*\*\d+\.\d\*\*/);
    const csv = (await callCli('eval', ...models, ...args, '--csv')).stdout.trim().split('\n');
    assert.is(csv[0], 'model,choose,choose_stderr,write,write_stderr');
    assert.is(csv.length, 3);
    const single = await callCli('eval', models[0]!, ...args);
    assert.match(single.stdout, /^benchmark +metric +score +std\. error +documents\n/);
    assert.match(single.stdout, /choose +acc,none +\d+\.\d +\d+\.\d +12\n/);
  });
});

test('scores are the same whatever the batch size, and change with the shots', async () => {
  await inProject(async (folder, args) => {
    const run = async (...more: string[]) => {
      const { stdout, error } = await callCli('eval', join(folder, 'one'), ...args, '--json', ...more);
      assert.is(error, undefined);
      return JSON.parse(stdout);
    };
    const first = await run();
    assert.equal(await run('--batch-size', '1'), first);
    assert.equal(await run('--batch-size', '50', '--no-share-prefixes'), first);
    assert.equal(
      first.models[0].tasks.map(({ shots }: { shots: number }) => shots),
      [2, 0],
    );
    const changed = await run('--shots', '1', '--shots', 'choose=3', '--limit', '5');
    assert.equal(
      changed.models[0].tasks.map(({ shots, documents }: { shots: number; documents: number }) => [shots, documents]),
      [
        [3, 5],
        [1, 5],
      ],
    );
    assert.not.equal((await run('--seed', '1')).models[0].tasks[1], first.models[0].tasks[1], 'texts are sampled');
  });
});

test('results and all samples are kept, and a run that was killed goes on', async () => {
  await inProject(async (folder, args) => {
    const out = join(folder, 'results');
    const all = ['eval', join(folder, 'one'), ...args, '--batch-size', '8'];
    const whole = JSON.parse((await callCli(...all, '--json')).stdout);

    const samples = join(out, `${folder.slice(1).replaceAll('/', '-')}-one`);
    const running = startCli([...all, '--out', out]);
    const count = async (name: string) => (await lines(join(samples, name)).catch(() => [''])).filter(Boolean).length;
    await until(async () => (await count('write.jsonl')) > 0 || running.process.exitCode !== null);
    running.process.kill('SIGKILL');
    await running.ended;
    const before = await lines(join(samples, 'choose.jsonl'));
    assert.is(before.length, QUESTIONS);
    // As if the kill had cut a line short.
    const path = join(samples, 'write.jsonl');
    const kept = await lines(path);
    await writeFile(path, `${kept.join('\n')}\n{"document":3,"ha`);

    const { stdout, error } = await callCli(...all, '--json', '--out', out);
    assert.is(error, undefined);
    const { samples: named, ...model } = JSON.parse(stdout).models[0];
    assert.is(join(out, named), samples);
    assert.equal([model], whole.models, 'scores are those of a run in one go');
    assert.equal(JSON.parse(await readFile(join(out, 'results.json'), 'utf8')), JSON.parse(stdout));
    assert.equal((await lines(join(samples, 'choose.jsonl'))).slice(0, before.length), before, 'nothing is done again');
    const written = await lines(path);
    assert.is(written.length, QUESTIONS);
    for (const line of kept) assert.ok(written.includes(line));
    const sample = JSON.parse(written[0]!);
    assert.equal(Object.keys(sample).sort(), [
      'document',
      'extracted',
      'hash',
      'isCut',
      'items',
      'prompt',
      'response',
      'target',
    ]);

    // Other prompts are other samples; more documents are added to those that there are.
    await callCli(...all, '--out', out, '--shots', 'write=1', '--limit', '4');
    assert.equal((await lines(join(samples, 'choose.jsonl'))).sort(), before.sort());
    const shown = (await lines(path)).map((line) => JSON.parse(line)).filter(({ document }) => document < 4);
    assert.ok(shown.every(({ prompt }) => prompt.includes('\n\n')));
  });
});

test('compare shows where two models differ', async () => {
  await inProject(async (folder, args) => {
    const out = join(folder, 'results');
    const models = [join(folder, 'one'), join(folder, 'two')];
    await callCli('eval', ...models, ...args, '--out', out);
    const { stdout, error } = await callCli('eval', 'compare', out, '--show', '1');
    assert.is(error, undefined);
    assert.match(stdout, /^benchmark +metric/);
    assert.match(stdout, /write +chrf,none/);
    assert.match(stdout, /--- write, document \d+\n\d+ \+ \d+ =\ntarget: \d+\n/);
    const json = JSON.parse((await callCli('eval', 'compare', out, '--json', '--task', 'write')).stdout);
    assert.equal(json.models, models);
    const [{ task, documents, differences, onlyFirst, onlySecond }] = json.tasks;
    assert.equal([task, documents, differences.length], ['write', QUESTIONS, onlyFirst + onlySecond]);
    const same = await callCli('eval', 'compare', out, '--model', 'one');
    assert.match(same.error!.message, /two models are compared; choose them/);
    assert.is((await callCli('eval', 'compare', out, '--model', 'three')).error?.code, 'BAD_OPTION');
    assert.is((await callCli('eval', 'compare', join(folder, 'one'))).error?.code, 'FILE_NOT_FOUND');
  });
});

test('the benchmarks are listed with version, source and prompt', async () => {
  const { stdout } = await callCli('eval', '--list');
  for (const name of [
    'mmlu',
    'bbh',
    'mbpp',
    'humaneval',
    'flores_s',
    'gsm8k',
    'minerva_math',
    'mgsm_native_cot',
    'triviaqa',
  ]) {
    assert.match(stdout, name);
  }
  const one = await callCli('eval', '--list', '--tasks', 'gsm8k');
  assert.match(
    one.stdout,
    /^gsm8k\n {2}version 3, 8 shots, generate.*\n {2}source: .*\n {2}follows .*\n {2}\| Question: \{question\}\n/,
  );
  const json = JSON.parse((await callCli('eval', '--list', '--json')).stdout);
  assert.ok(json.length > 300);
  assert.ok(json.every(({ source, prompt, version }: Record<string, unknown>) => source && prompt && version));
});

test('what is missing or mistyped is told before anything is computed', async () => {
  await inProject(async (folder) => {
    const model = join(folder, 'one');
    const code = async (...args: string[]) => (await callCli('eval', ...args)).error;
    assert.match((await code(model, '--tasks', 'gsm9k'))!.message, /no task 'gsm9k'/);
    const missing = await code(model, '--tasks', 'gsm8k', '--data', folder);
    assert.is(missing!.code, 'FILE_NOT_FOUND');
    assert.match(missing!.message, /grade-school-math.*'gsm8k\/test\.jsonl'/);
    assert.is((await code(join(folder, 'nowhere'), '--tasks', join(folder, 'write.yaml')))!.code, 'FILE_NOT_FOUND');
    assert.match((await code('--tasks', 'gsm8k'))!.message, /name a model's folder/);
    assert.match(
      (await code(model, '--tasks', join(folder, 'write.yaml'), '--shots', 'reed=1'))!.message,
      /names 'reed'/,
    );
    assert.is((await code(model, '--tasks', join(folder, 'write.yaml'), '--shots', 'many'))!.code, 'BAD_OPTION');
  });
});

test('progress and warnings come on stderr, the table alone on stdout', async () => {
  await inProject(async (folder) => {
    const { code, stdout, stderr } = await runCli(['eval', 'one', '--tasks', 'choose.yaml', '--shots', '8'], {
      cwd: folder,
    });
    assert.is(code, 0, stderr);
    assert.match(stdout, /^benchmark/);
    assert.match(stderr, /evaluated one/);
  });
});

test('what would be ignored is refused, and names the option', async () => {
  await inProject(async (folder, [, tasks]) => {
    const model = join(folder, 'one');
    const run = ['--tasks', tasks!, '--threads', '1'];
    const texts = ['--domain', `x=${join(folder, 'sums.jsonl')}`];
    await writeFile(join(folder, 'both.yaml'), 'limit: 3\n');
    const refused: [string, string[]][] = [
      // Benchmarks
      ...(
        [
          ['domain', texts],
          ['switching', ['--switching']],
          ['split', ['--split', 'all']],
          ['sequence-length', ['--sequence-length', '8']],
          ['max-tokens', ['--max-tokens', '8']],
          ['documents', ['--documents', 'paragraph']],
          ['text-field', ['--text-field', 'a']],
          ['held-out-fraction', ['--held-out-fraction', '0.5']],
          ['cache', ['--cache', folder]],
        ] as [string, string[]][]
      ).map(([name, more]): [string, string[]] => [name, [model, ...run, ...more]]),
      // Texts
      ...(
        [
          ['limit', ['--limit', '3']],
          ['shots', ['--shots', '3']],
          ['data', ['--data', folder]],
          ['out', ['--out', join(folder, 'out')]],
          ['seed', ['--seed', '3']],
          ['share-prefixes', ['--no-share-prefixes']],
          ['allow-unsafe-code', ['--allow-unsafe-code']],
          ['code-timeout', ['--code-timeout', '3']],
          ['python', ['--python', 'python3']],
          ['csv', ['--csv']],
          ['held-out-fraction', ['--split', 'all', '--held-out-fraction', '0.5']],
          ['limit', ['--config', join(folder, 'both.yaml')]],
        ] as [string, string[]][]
      ).map(([name, more]): [string, string[]] => [name, [model, ...texts, ...more]]),
      // The list
      ['limit', ['--list', '--limit', '3']],
      ['domain', ['--list', ...texts]],
      ['markdown', ['--list', '--markdown']],
      ['csv', ['--list', '--csv']],
      ['list', ['--list', model]],
    ];
    for (const [name, args] of refused) {
      const { error, stdout } = await callCli('eval', ...args);
      assert.is(error?.code, 'BAD_OPTION', args.join(' '));
      assert.match(error!.message, `--${name} `);
      assert.is(stdout, '');
    }
    for (const formats of [
      ['--json', '--csv'],
      ['--markdown', '--json'],
      ['--csv', '--markdown'],
    ]) {
      const { error } = await callCli('eval', model, ...run, ...formats);
      assert.is(error?.code, 'BAD_OPTION');
      assert.match(error!.message, /one format: choose from --/);
    }
    for (const shots of [
      ['1', '2'],
      ['choose=1', 'choose=2'],
    ]) {
      const given = shots.flatMap((text) => ['--shots', text]);
      assert.match((await callCli('eval', model, ...run, ...given)).error!.message, /--shots is given twice/);
    }
    const missing = await callCli('eval', model, ...run, '--shots', 'chose=1');
    assert.match(missing.error!.message, /names 'chose'.* Did you mean 'choose'/);
  });
});

test('compare takes no options of eval, and no benchmark that is not there', async () => {
  await inProject(async (folder, args) => {
    const out = join(folder, 'results');
    await callCli('eval', join(folder, 'one'), join(folder, 'two'), ...args, '--out', out);
    const refused: [RegExp, string[]][] = [
      [/no option --limit/, ['--limit', '3']],
      [/no option --batch-size/, ['--batch-size', '3']],
      [/no option --domain/, ['--domain', `x=${folder}`]],
      [/no option --csv/, ['--csv']],
      [/no option --list/, ['--list']],
      [/one format/, ['--json', '--markdown']],
      [/--show/, ['--json', '--show', '3']],
      [/no benchmark 'chose' in common\. Did you mean 'choose'/, ['--task', 'write', '--task', 'chose']],
    ];
    for (const [message, more] of refused) {
      const { error, stdout } = await callCli('eval', 'compare', out, ...more);
      assert.is(error?.code, 'BAD_OPTION', more.join(' '));
      assert.match(error!.message, message);
      assert.is(stdout, '');
    }
  });
});

test('a model is only said to be evaluated when it was', async () => {
  await inProject(async (folder, args) => {
    const rows = [
      { q: 'x', c: ['y', 'z'] },
      { q: 'x', c: ['', 'z'] },
    ];
    await writeFile(join(folder, 'bad.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
    await writeFile(
      join(folder, 'bad.yaml'),
      'task: bad\ndata: bad.jsonl\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\ntarget_delimiter: ""\n' +
        'doc_to_choice: c\ndoc_to_target: 0\n',
    );
    const good = await callCli('eval', join(folder, 'one'), ...args);
    assert.match(good.stderr, /evaluated .*one/);
    const { error, stderr } = await callCli('eval', join(folder, 'one'), '--tasks', join(folder, 'bad.yaml'));
    assert.is(error?.code, 'BAD_DATA');
    assert.match(error!.message, /document 1 of 'bad': choice 0, "", is empty/);
    assert.not.match(stderr, 'evaluated');
  });
});

test.run();
