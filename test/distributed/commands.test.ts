/** Commands that mpirun starts on several ranks. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CliOptions, callCli, listFiles, start, until, writeProject } from '../support/cli.js';
import { close, inTemporaryFolder } from '../support/models.js';
import { bundled } from './bundle.js';
import { noMpi } from './ranks.js';

const why = noMpi();
if (why !== undefined) console.log(`distributed commands: skipped, ${why}`);

const MPIRUN = 'mpirun --allow-run-as-root --oversubscribe --bind-to none';
const TWO = { shell: `exec ${MPIRUN} -n 2 "$@"` };

const startCli = (args: readonly string[], options: CliOptions = {}) =>
  start([process.execPath, bundled('cli'), ...args], options);
const runCli = (args: readonly string[], options: CliOptions = {}) => startCli(args, options).ended;

interface Project {
  /** A path in its folder. */
  at: (name: string) => string;
  /** Options of its texts. */
  texts: string[];
  /** Options of a run that trains on them. */
  run: (out: string, batchSize: number) => string[];
}

async function inProject(use: (project: Project) => Promise<void>) {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const at = (name: string) => join(folder, name);
    const texts = ['--domain', `code=${at('code.txt')}`, '--domain', `prose=${at('math.txt')}`, '--cache', at('cache')];
    const sizes = ['--evaluate-tokens=300', '--sequence-length=16', '--learning-rate=1e-2', '--threads=1'];
    const run = (out: string, batchSize: number) => ['--out', at(out), `--batch-size=${batchSize}`, ...texts, ...sizes];
    await use({ at, texts, run });
  });
}

const count = (text: string, part: string) => text.split(part).length - 1;

if (why === undefined) {
  test('stitch on two ranks reports once what one process reports with batches twice as large', async () => {
    await inProject(async ({ at, texts, run }) => {
      const command = [
        'stitch',
        '--hub',
        at('hub'),
        '--expert',
        `code=${at('code')}`,
        '--dropout=0.2',
        '--steps=4',
        '--json',
      ];
      const { code, stdout, stderr } = await runCli([...command, ...run('two', 2)], TWO);
      assert.is(code, 0, stderr);
      for (const line of ['code: ', 'prose: ', 'step 4, held-out loss', 'The stitched model is in']) {
        assert.is(count(stderr, `\n${line}`) + (stderr.startsWith(line) ? 1 : 0), 1, stderr);
      }
      const one = await callCli(...command, ...run('one', 4));
      assert.is(one.error, undefined, one.error?.message);
      const losses = (json: string) =>
        JSON.parse(json).heldOut.flatMap((row: { losses: { loss: number }[] }) => row.losses.map(({ loss }) => loss));
      assert.is(losses(stdout).length, 6);
      close(losses(stdout), losses(one.stdout), 1e-3);
      const files = await listFiles(at(''));
      const below = (out: string) =>
        files
          .filter((path) => path.startsWith(`${out}/`) || path.startsWith(`${out}.`))
          .map((path) => path.slice(out.length));
      assert.equal(below('two'), below('one'));
      const evaluation = ['eval', at('hub'), at('two'), '--switching', '--max-tokens=300', '--json', ...texts];
      const shared = await runCli([...evaluation, '--threads=1'], TWO);
      assert.is(shared.code, 0, shared.stderr);
      assert.equal(JSON.parse(shared.stdout), JSON.parse((await callCli(...evaluation)).stdout));
    });
  });

  test('a stitched model generates on as many ranks as it has members, and what it does on one', async () => {
    await inProject(async ({ at, run }) => {
      const members = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
      const made = await callCli('stitch', ...members, '--steps=3', '--no-compare', ...run('stitched', 2));
      assert.is(made.error, undefined, made.error?.message);
      const generate = (model: string) => ['generate', at(model), 'def f(', '--max-tokens=12', '--seed=3', '--json'];
      const one = await runCli(generate('stitched'));
      const two = await runCli(generate('stitched'), TWO);
      assert.is(two.code, 0, two.stderr);
      // Once, though both have it.
      const tokensOf = (json: string) => JSON.parse(json).tokens;
      assert.is(tokensOf(one.stdout).length, 12);
      assert.equal(tokensOf(two.stdout), tokensOf(one.stdout));
      const dense = await runCli(generate('hub'), TWO);
      assert.match(
        dense.stderr,
        /BAD_OPTION.*is no stitched model, and only of such each of 2 processes can have a member/,
      );
    });
  });

  test('stitch with a member on each rank reports and writes what one process does, and goes on there', async () => {
    await inProject(async ({ at, run }) => {
      const members = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
      const stitch = (steps: number) => [
        'stitch',
        ...members,
        `--steps=${steps}`,
        '--init=hub',
        '--checkpoint-every=2',
        '--json',
      ];
      const spread = [...stitch(3), ...run('spread', 2), '--members-per-device=1'];
      const { code, stdout, stderr } = await runCli(spread, TWO);
      assert.is(code, 0, stderr);
      const one = await callCli(...stitch(3), ...run('whole', 2));
      assert.is(one.error, undefined, one.error?.message);
      const losses = (json: string) =>
        JSON.parse(json).heldOut.flatMap((row: { losses: { loss: number }[] }) => row.losses.map(({ loss }) => loss));
      assert.is(losses(stdout).length, 6);
      close(losses(stdout), losses(one.stdout), 1e-3);
      const files = (await listFiles(at(''))).filter((path) => !path.endsWith('metrics.jsonl'));
      const below = (out: string) => files.filter((path) => path.startsWith(out)).map((path) => path.slice(out.length));
      assert.equal(below('spread'), below('whole'));
      await rm(at('spread'), { recursive: true });
      const on = await callCli(...stitch(3), ...run('spread', 2), '--resume');
      assert.is(on.error, undefined, on.error?.message);
      close(losses(on.stdout), losses(one.stdout), 1e-3);
      for (const [value, said] of [
        ['3', '--members-per-device is 3: a device holds 1 of the 2 members, or all of them'],
        ['1', '2 members with a rank each take a multiple of 2 processes, and there are 1: start as many'],
      ])
        assert.match(
          (await callCli(...stitch(3), ...run('other', 2), `--members-per-device=${value}`)).error!.message,
          said!,
        );
    });
  });

  test('a new model on two ranks, stopped on both by a signal, goes on on one', async () => {
    await inProject(async ({ at, run }) => {
      const shape = ['--width=16', '--layers=2', '--heads=2', '--train-tokenizer=300'];
      const command = (steps: number) => ['train', ...shape, `--steps=${steps}`, '--seed=5'];
      const running = startCli([...command(100000), ...run('new', 1)], {
        shell: `exec ${MPIRUN} --mca odls_base_sigkill_timeout 30 -n 2 "$@"`,
      });
      const metrics = () => readFile(at('new.training/metrics.jsonl'), 'utf8').catch(() => '');
      await until(async () => /"step":3/.test(await metrics()));
      running.process.kill('SIGINT');
      const { stderr } = await running.ended;
      assert.is(count(stderr, 'bts: ABORTED: stopped after step'), 1, stderr);
      const step = Number(/stopped after step (\d+)/.exec(stderr)![1]);
      const other = await callCli(...command(100001), ...run('new', 1), '--resume');
      assert.match(other.error!.message, 'steps is 100001, the run began with 100000');
      const on = startCli([...command(100000), ...run('new', 1), '--resume']);
      await until(async () => new RegExp(`"step":${step + 3}`).test(await metrics()));
      on.process.kill('SIGINT');
      const ended = await on.ended;
      assert.match(ended.stderr, `step ${step}: goes on on 1 rank (it began on 2)`);
      assert.match(await metrics(), `"type":"resumed","step":${step},"ranks":1,"begun":2,"batch":2`);
    });
  });

  test('ranks with different options are refused, and rank 0 says so', async () => {
    await inProject(async ({ run }) => {
      const command = (seed: number) => `"$@" --seed=${seed}`;
      const { code, stdout, stderr } = await runCli(
        [
          'train',
          '--width=16',
          '--layers=2',
          '--heads=2',
          '--train-tokenizer=300',
          '--steps=2',
          '--json',
          ...run('out', 1),
        ],
        {
          shell: `exec ${MPIRUN} -n 1 ${command(1)} : -n 1 ${command(2)}`,
        },
      );
      assert.is(code, 2, stderr);
      assert.is(count(stderr, 'bts: BAD_OPTION: --seed is 2 on rank 1, and 1 on rank 0'), 1, stderr);
      assert.is(JSON.parse(stdout).error.code, 'BAD_OPTION');
    });
  });
}

test.run();
