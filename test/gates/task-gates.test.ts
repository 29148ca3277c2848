/** Gates by benchmark: numbers against a trace of prompts and answers, scores untouched, the command. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFolder } from '../../lib/base/folder.js';
import { DataFolder } from '../../lib/eval/data/data-folder.js';
import { evaluate, tasksOf } from '../../lib/eval/evaluate.js';
import { readOwnTask } from '../../lib/eval/own/own-task.js';
import { resolveTasks } from '../../lib/eval/registry.js';
import type { Sample } from '../../lib/eval/run/run-task.js';
import { GateSums } from '../../lib/gates/gate-sums.js';
import { taskGates } from '../../lib/gates/task-gates.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { callCli } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, close, inTemporaryFolder, randomize, writeModel } from '../support/models.js';
import { expectInside, readSvg } from '../support/svg.js';

const QUESTIONS = 5;
const TASKS: Record<string, string> = {
  choose: 'output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: 0\nnum_fewshot: 1',
  write: 'output_type: generate_until\ndoc_to_target: "{{sum}}"\ngeneration_kwargs: {until: ["="], max_gen_toks: 6}',
  read: 'output_type: loglikelihood_rolling\ndoc_to_target: "{{a}} and {{b}}"',
};

/** Three models, two of them stitched into 'generalist', and tasks of each kind; the model as it lies there. */
async function inProject(use: (folder: string, model: StitchedModel) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const config = { ...CONFIGS.llama, maxPositions: 256 };
    const [hub, a, b] = ['hub', 'a', 'b'].map((name) => join(folder, name)) as [string, string, string];
    for (const [seed, path] of [hub, a, b].entries()) await writeModel(device, path, { config, seed: seed + 1 });
    using trained = await StitchedModel.create(device, { hub, experts: { a, b }, stitches: 2 });
    randomize(trained, 5);
    await replaceFolder(join(folder, 'generalist'), (temporary) => trained.write(temporary));
    const rows = Array.from({ length: QUESTIONS }, (_, i) => {
      return JSON.stringify({ a: i, b: 2 * i, sum: `${3 * i}`, choices: [`${3 * i}`, `${i} or less`, 'x'] });
    });
    await writeFile(join(folder, 'sums.jsonl'), rows.join('\n'));
    for (const [name, fields] of Object.entries(TASKS)) {
      const head = `task: ${name}\ndata: sums.jsonl\ndoc_to_text: "{{a}} + {{b}} ="\n`;
      await writeFile(join(folder, `${name}.yaml`), `${head}${fields}\n`);
    }
    using model = await StitchedModel.load(device, join(folder, 'generalist'));
    await use(folder, model);
  });
}

test('they are those at the tokens that a model answers with, behind what it was asked', async () => {
  await inProject(async (folder, model) => {
    const own = await Promise.all(Object.keys(TASKS).map((name) => readOwnTask(join(folder, `${name}.yaml`))));
    const columns = resolveTasks(Object.keys(TASKS), own);
    const data = new DataFolder(folder);
    const { tasks: results } = await evaluate(model, columns, { data });
    const found = await taskGates(model, columns, results, { data, batchSize: 3 });
    assert.equal(
      found.map(({ task, stitch }) => [task, stitch]),
      Object.keys(TASKS).flatMap((name) => model.manifest.plan.map((stitch) => [name, stitch])),
    );
    const { tokenizer } = model;
    for (const [t, task] of tasksOf(columns).entries()) {
      const documents = (await task.documents(data)) as never[];
      const answerOf = ({ document, response: { choices, texts } }: Sample): string => {
        if (!choices) return texts?.[0] ?? '';
        const best = choices.reduce((best, { logProbability }, i) => {
          return logProbability > choices[best]!.logProbability ? i : best;
        }, 0);
        return ` ${task.choices!(documents[document]!)[best]}`;
      };
      const sums = model.manifest.plan.map((placement) => new GateSums(placement, model.memberNames));
      for (const sample of results[t]!.samples) {
        const before = tokenizer.encode(sample.prompt, { specials: 'before' });
        const isText = task.kind === 'text';
        // Of a text that is scored, all tokens behind the one that texts are taken to begin with.
        const whole = isText
          ? [tokenizer.bosToken ?? tokenizer.eosToken!, ...before]
          : tokenizer.encode(sample.prompt + answerOf(sample), { specials: 'before' });
        const first = isText ? 0 : before.length - 1;
        for (const [s, { gates }] of (await model.trace(whole.slice(0, -1))).entries()) {
          const size = gates.length / (whole.length - 1);
          for (let n = first; n < whole.length - 1; n++) sums[s]!.add(gates.subarray(n * size, (n + 1) * size));
        }
      }
      for (const [s, sum] of sums.entries()) {
        const { gates, entropy, saturation, ...exact } = sum.result();
        const own = found[2 * t + s]!;
        assert.equal([own.tokens, own.unheard], [exact.tokens, exact.unheard], task.name);
        close(own.gates, gates, 1e-5, task.name);
        close([own.entropy], [entropy], 1e-5, task.name);
        close(
          [...own.saturation.low, ...own.saturation.high],
          [...saturation.low, ...saturation.high],
          1e-3,
          task.name,
        );
      }
    }
    const [write] = resolveTasks(['write'], own);
    const together = await taskGates(model, [{ name: 'all', tasks: tasksOf(columns) }], results, { data });
    const sum = (task: string) => found.find((each) => each.task === task)!.tokens;
    assert.equal(
      together.map(({ task, tokens }) => [task, tokens]),
      [0, 1].map(() => ['all', sum('choose') + sum('write') + sum('read')]),
      'a group is one',
    );
    const silent = results.map((result) => ({
      ...result,
      samples: result.samples.map((sample) => ({ ...sample, response: { texts: [''] } })),
    }));
    assert.equal(await taskGates(model, [write!], silent, { data }), [], 'who says nothing has none');
  });
});

test('eval tells them beside scores, which stay what they are, and draws them', async () => {
  await inProject(async (folder) => {
    const at = (name: string) => join(folder, name);
    const tasks = Object.keys(TASKS).map((name) => at(`${name}.yaml`));
    const args = ['--tasks', tasks.join(','), '--threads', '1'];
    const plain = await callCli('eval', at('hub'), at('generalist'), ...args, '--json');
    assert.is(plain.error, undefined, plain.error?.message);
    const asked = await callCli('eval', at('hub'), at('generalist'), ...args, '--json', '--gates');
    assert.is(asked.error, undefined, asked.error?.message);
    const [hub, { gates, ...generalist }] = JSON.parse(asked.stdout).models;
    assert.equal([hub, generalist], JSON.parse(plain.stdout).models);
    assert.equal(gates.members, ['hub', 'a', 'b']);
    assert.equal(
      gates.means.map(({ task }: { task: string }) => task),
      ['choose', 'choose', 'write', 'write', 'read', 'read'],
    );

    const out = ['--out', at('results')];
    const table = await callCli('eval', at('generalist'), ...args, ...out, '--gates', '--gates-file', at('gates.svg'));
    assert.is(table.error, undefined, table.error?.message);
    assert.match(
      table.stdout,
      /\nafter layer +kind +benchmark +hub +a +b +entropy +saturated % +never heard +tokens\n/,
    );
    const picture = readSvg(await readFile(at('gates.svg'), 'utf8'));
    expectInside(picture);
    const labels = picture.texts.map(({ text }) => text);
    for (const label of ['Mean gates of generalist', 'choose', 'write', 'read', 'a', 'b']) {
      assert.ok(labels.includes(label), label);
    }
    // Samples that were kept are looked at as new ones are.
    const again = await callCli('eval', at('generalist'), ...args, ...out, '--json', '--gates-file', at('gates.csv'));
    assert.equal(JSON.parse(again.stdout).models[0].gates, gates);
    assert.equal(JSON.parse(await readFile(at('results/results.json'), 'utf8')).models[0].gates, gates);
    assert.match(await readFile(at('gates.csv'), 'utf8'), /^task,tokens,after_layer,kind,member,gate,.*\r\nchoose,/);

    for (const [models, more, why] of [
      [['hub'], ['--gates'], /none of these is a stitched model/],
      [['generalist', 'generalist'], ['--gates-file', 'x.svg'], /of one stitched model, 2 came/],
      [['generalist'], ['--gates-file', 'x.txt'], /'x\.txt': its ending says/],
    ] as const) {
      const refused = await callCli('eval', ...models.map(at), ...args, ...more);
      assert.match(refused.error?.message ?? '', why);
    }
  });
});

test.run();
