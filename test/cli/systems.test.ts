/** `bts baseline`, `add`, `remove`, `stitch --ablate` and `generate --without`. */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exists } from '../../lib/base/file.js';
import { callCli, startCli, until, writeProject } from '../support/cli.js';
import { inTemporaryFolder } from '../support/models.js';
import { weights } from '../support/training.js';

const SYSTEMS = ['soup', 'btm', 'routing', 'btx-sample', 'btx-soft', 'bam', 'bam-adapters', 'data-matched'];

async function inProject(use: (at: (name: string) => string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    await use((name) => join(folder, name));
  });
}

type At = (name: string) => string;
const models = (at: At) => ['--hub', at('hub'), '--expert', `code=${at('code')}`, '--expert', `math=${at('math')}`];
const text = (at: At) => [
  '--domain',
  `code=${at('code.txt')}`,
  '--domain',
  `prose=${at('math.txt')}`,
  '--cache',
  at('cache'),
];
const sizes = ['--evaluate-tokens', '300', '--batch-size', '2', '--sequence-length', '16', '--threads', '1'];
const training = ['--steps', '3', '--learning-rate', '1e-2'];

/** What a command printed as JSON; fails where the command does. */
async function json(...args: string[]) {
  const { stdout, error } = await callCli(...args, '--json');
  assert.is(error, undefined, error?.message);
  return JSON.parse(stdout);
}

test('every system is made of experts that are adapters; where they become part of weights, that is said', async () => {
  await inProject(async (at) => {
    const shrunk = await callCli('shrink', at('code'), '--hub', at('hub'), '--rank', '16', '--out', at('small'));
    assert.is(shrunk.error, undefined, shrunk.error?.message);
    const members = (code: string) => [
      '--hub',
      at('hub'),
      '--expert',
      `code=${code}`,
      '--expert',
      `math=${at('math')}`,
    ];
    for (const system of SYSTEMS.filter((system) => system !== 'data-matched')) {
      const steps = ['soup', 'btm'].includes(system) ? [] : training;
      const losses = [];
      for (const code of ['code', 'small']) {
        const out = ['--out', at(`${system}-${code}`)];
        const all = [...out, ...members(at(code)), ...text(at), ...sizes, ...steps];
        const { stdout, stderr, error } = await callCli('baseline', system, ...all, '--json');
        assert.is(error, undefined, error?.message);
        const isTold = code === 'small' && ['btx-sample', 'btx-soft', 'bam'].includes(system);
        assert.is(/trains whole experts: the adapters code become part/.test(stderr), isTold, stderr);
        losses.push(JSON.parse(stdout).heldOut.map(({ loss }: { loss: number }) => loss));
      }
      // Of full rank it computes what the expert does.
      for (const [i, loss] of losses[0].entries()) assert.ok(Math.abs(loss - losses[1][i]) < 1e-3 * loss, system);
    }
  });
});

test('every system is made by one command, evaluated and generated with', async () => {
  await inProject(async (at) => {
    const members = await Promise.all(['hub', 'code', 'math'].map((name) => weights(at(name))));
    const made: Record<string, number[]> = {};
    for (const system of SYSTEMS) {
      const steps = ['soup', 'btm'].includes(system) ? [] : training;
      const result = await json(
        'baseline',
        system,
        '--out',
        at(system),
        ...models(at),
        ...text(at),
        ...sizes,
        ...steps,
      );
      assert.is(result.system, system);
      made[system] = result.heldOut.map(({ loss }: { loss: number }) => loss);
      assert.is(made[system]!.length, 2);
    }
    const limits = ['--max-tokens', '300', '--batch-size', '2', '--sequence-length', '16', '--threads', '1'];
    const { models: rows } = await json('eval', ...SYSTEMS.map(at), ...text(at), ...limits);
    for (const [i, { losses }] of rows.entries()) {
      assert.equal(
        losses.map(({ loss }: { loss: number }) => loss),
        made[SYSTEMS[i]!],
        SYSTEMS[i],
      );
      const { tokens } = await json('generate', at(SYSTEMS[i]!), 'let x', '--max-tokens', '3', '--temperature', '0');
      assert.ok(tokens.length > 0);
    }
    assert.equal(await Promise.all(['hub', 'code', 'math'].map((name) => weights(at(name)))), members);
  });
});

test('a system that is trained says what it needs', async () => {
  await inProject(async (at) => {
    const { error } = await callCli('baseline', 'bam', '--out', at('bam'), ...models(at));
    assert.match(error?.message ?? '', /bam is trained: give --steps and --domain/);
    const { error: unknown } = await callCli('baseline', 'stew', '--out', at('stew'), ...models(at));
    assert.match(unknown?.message ?? '', /stew/);
  });
});

test('a system whose training was interrupted goes on with --resume and ends the same', async () => {
  await inProject(async (at) => {
    const command = (system: string, out: string) => [
      'baseline',
      system,
      '--out',
      at(out),
      ...models(at),
      ...text(at),
      ...sizes,
    ];
    for (const [system, file] of [
      ['bam-adapters', 'mixture.safetensors'],
      ['routing', 'router.safetensors'],
    ] as const) {
      const steps = ['--steps', '40', '--learning-rate', '1e-2', '--checkpoint-every', '2'];
      await json(...command(system, `${system}-whole`), ...steps);
      const run = startCli([...command(system, `${system}-parts`), ...steps]);
      await until(() => exists(join(at(`${system}-parts.training`), 'step-0000002')));
      run.process.kill('SIGINT');
      const { code } = await run.ended;
      assert.ok([0, 130].includes(code!), `ended with ${code}`);
      if (code === 130) await json(...command(system, `${system}-parts`), ...steps, '--resume');
      assert.equal(await weights(at(`${system}-parts`), file), await weights(at(`${system}-whole`), file), system);
    }
  });
});

test('experts are added and removed by one command each, and switched off in one request', async () => {
  await inProject(async (at) => {
    const one = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
    await json('stitch', '--out', at('small'), ...one, ...text(at), ...sizes, ...training, '--no-compare');
    const small = await weights(at('small'), 'stitch.safetensors');

    const math = ['--expert', `math=${at('math')}`];
    const added = await json('add', at('small'), ...math, '--out', at('added'), ...text(at), ...sizes);
    assert.equal(added.heldOut[0].losses, added.heldOut[1].losses, 'nothing changes before it is trained');
    const bits = ['--members', 'int8', '--quantize', 'math=int4', '--quantize', 'code=int4'];
    const held = await json('add', at('small'), ...math, ...bits, '--out', at('held'), ...text(at), ...sizes);
    assert.equal(held.heldOut[0].losses, held.heldOut[1].losses, 'both models are held in the same bits');
    assert.not.equal(held.heldOut[0].losses, added.heldOut[0].losses);
    const trained = ['add', at('small'), ...math, '--out', at('large'), ...text(at), ...sizes, ...training];
    const { heldOut } = await json(...trained, '--train', 'new');
    assert.equal(
      heldOut.map(({ model }: { model: string }) => model),
      ['before', 'after'],
    );
    assert.not.equal(heldOut[0].losses, heldOut[1].losses);

    await json('remove', at('large'), '--expert', 'code', '--out', at('other'), ...text(at), ...sizes, ...training);
    const { members } = JSON.parse(await readFile(join(at('other'), 'bts.json'), 'utf8'));
    assert.equal(
      members.map(({ name }: { name: string }) => name),
      ['hub', 'math'],
    );
    assert.equal(await weights(at('small'), 'stitch.safetensors'), small);

    const generate = ['generate', 'let x', '--max-tokens', '5', '--temperature', '0'];
    const of = (model: string, ...more: string[]) => json('generate', at(model), ...generate.slice(1), ...more);
    const removed = await json('remove', at('large'), '--expert', 'math', '--out', at('less'), ...text(at), ...sizes);
    assert.is(removed.steps, 0);
    assert.equal((await of('large', '--without', 'math')).tokens, (await of('less')).tokens);
    const { error } = await callCli('generate', at('hub'), 'x', '--without', 'math');
    assert.match(error?.message ?? '', /this model has none/);
  });
});

test('experts come and go without any text, and with text where there is something to train', async () => {
  await inProject(async (at) => {
    const one = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
    await json('stitch', '--out', at('generalist'), ...one, ...text(at), ...sizes, ...training, '--no-compare');
    const math = ['--expert', `math=${at('math')}`];
    assert.equal(await json('add', at('generalist'), ...math, '--out', at('wider')), {
      model: at('wider'),
      steps: 0,
      heldOut: [],
    });
    await json('remove', at('wider'), '--expert', 'math', '--out', at('less'));
    const generate = (model: string) => json('generate', at(model), 'let x', '--max-tokens', '5', '--temperature', '0');
    const { tokens } = await generate('generalist');
    assert.equal((await generate('wider')).tokens, tokens);
    assert.equal((await generate('less')).tokens, tokens);
    for (const command of [
      ['add', at('generalist'), ...math],
      ['remove', at('wider'), '--expert', 'math'],
    ]) {
      const { error } = await callCli(...command, '--out', at('none'), '--steps', '3');
      assert.is(error?.code, 'BAD_OPTION');
      assert.match(error!.message, '--domain is missing: --steps 3 trains on text');
    }
    for (const [stray, ...words] of [
      ['--learning-rate', '0.1'],
      ['--train', 'new'],
      ['--accumulation', '2', ...text(at)],
      ['--evaluate-tokens', '100'],
      ['--held-out-fraction', '0.1'],
    ]) {
      const { error } = await callCli('add', at('generalist'), ...math, '--out', at('none'), stray!, ...words);
      assert.is(error?.code, 'BAD_OPTION');
      assert.match(error!.message, `${stray} would be ignored without --`);
    }
    assert.not.ok(await exists(at('none')));
  });
});

test('a dry run of a system looks at its members and text, and writes nothing', async () => {
  await inProject(async (at) => {
    const dry = ['--out', at('out'), ...models(at), ...text(at), ...sizes, ...training, '--dry-run'];
    const plan = await json('baseline', 'bam', ...dry);
    assert.is(plan.tokens, 3 * 2 * 16);
    assert.equal(
      plan.domains.map(({ name, share }: { name: string; share: number }) => [name, share]),
      [
        ['code', 0.15],
        ['prose', 0.85],
      ],
    );
    assert.not.ok('parameters' in plan, 'what a mixture takes, its members do not tell');
    const dense = await callCli('baseline', 'data-matched', ...dry);
    assert.match(dense.stdout, /^model +([\d,]+) parameters, \1 of them trained\ntext +code: 15 %/);
    assert.match(dense.stdout, 'nothing was written');

    const soup = await callCli('baseline', 'soup', '--out', at('out'), ...models(at), '--dry-run');
    assert.is(soup.error?.code, 'BAD_OPTION');
    assert.match(soup.error!.message, 'soup takes none');
    const nowhere = await callCli('baseline', 'bam', ...dry, '--expert', `law=${at('nowhere')}`);
    assert.is(nowhere.error?.code, 'FILE_NOT_FOUND');
    for (const name of ['out', 'out.training']) assert.not.ok(await exists(at(name)), name);
  });
});

test('what a system is made of is the same where its training is resumed', async () => {
  await inProject(async (at) => {
    const every = ['--checkpoint-every', '2', '--resume', ...text(at), ...sizes, ...training];
    const refused = async (message: string, ...args: string[]) => {
      const { error } = await callCli(...args, ...every);
      assert.is(error?.code, 'BAD_OPTION', error?.message);
      assert.match(error!.message, message);
    };
    const code = ['--hub', at('hub'), '--expert', `code=${at('code')}`];
    const bam = ['baseline', 'bam', '--out', at('bam')];
    await json(...bam, ...models(at), ...every);
    await rm(at('bam'), { recursive: true });
    await refused(
      'system is "btx-soft", the run began with "bam"',
      'baseline',
      'btx-soft',
      '--out',
      at('bam'),
      ...models(at),
    );
    await refused('members is {"hub":"hub","code":"code"}', ...bam, ...code);

    await json('stitch', '--out', at('small'), ...code, ...every, '--no-compare');
    const add = ['add', at('small'), '--out', at('large')];
    await json(...add, '--expert', `math=${at('math')}`, ...every);
    await rm(at('large'), { recursive: true });
    await refused('"math":"hub"', ...add, '--expert', `math=${at('hub')}`);

    await json('sparse', at('small'), '--out', at('sparse'), ...every);
    await rm(at('sparse'), { recursive: true });
    await refused('pick is 2, the run began with 1', 'sparse', at('small'), '--pick', '2', '--out', at('sparse'));
    await json('sparse', at('small'), '--out', at('sparse'), ...every);
    assert.ok((await json('sparse', at('small'), '--out', at('sparse'), ...every)).finished);
  });
});

test('a router that picks experts is trained, and measured for every number of them', async () => {
  await inProject(async (at) => {
    await json('stitch', '--out', at('whole'), ...models(at), ...text(at), ...sizes, ...training, '--no-compare');
    const command = ['sparse', at('whole'), '--pick', '1', '--out', at('sparse'), ...text(at), ...sizes, ...training];
    const { pick, heldOut } = await json(...command);
    assert.is(pick, 1);
    assert.equal(
      heldOut.map((row: { pick: number }) => row.pick),
      [1, 2],
    );
    const { tokens } = await json('generate', at('sparse'), 'let x', '--max-tokens', '3', '--temperature', '0');
    assert.ok(tokens.length > 0);
  });
});

test('ablations of the paper are one option', async () => {
  await inProject(async (at) => {
    const manifest = async (ablate: string, ...more: string[]) => {
      const out = `ablated-${ablate}`;
      const args = ['--out', at(out), ...models(at), ...text(at), ...sizes, ...training, '--ablate', ablate, ...more];
      await json('stitch', ...args, '--no-compare');
      const made = JSON.parse(await readFile(join(at(out), 'bts.json'), 'utf8'));
      return {
        ...made,
        names: made.members.map(({ name, path }: Record<string, string>) => `${name}=${path!.slice(3)}`),
      };
    };
    assert.equal((await manifest('expert-as-hub')).names, ['hub=code', 'seed=hub', 'math=math']);
    assert.equal((await manifest('no-seed')).names, ['hub=code', 'math=math']);
    assert.is((await manifest('one-stitch')).plan.length, 1);
    const several = await manifest('non-alternating,scalar-gate,experts-unchanged,hub-start');
    const { plan, gate, expertsAfterMerge, gateBias } = several;
    assert.ok(plan.every(({ kind }: { kind: string }) => kind === 'experts_into_hub'));
    assert.equal([gate, expertsAfterMerge, gateBias], ['scalar', 'unchanged', true]);

    assert.equal([several.rank, (await manifest('low-rank', '--rank', '3')).rank], [undefined, 3]);
    const shares = async (...more: string[]) => {
      const args = [
        'stitch',
        '--out',
        at('dry'),
        ...models(at),
        ...text(at),
        ...sizes,
        ...training,
        '--dry-run',
        ...more,
      ];
      return (await json(...args)).domains.map(({ share }: { share: number }) => share);
    };
    assert.equal(await shares(), [0.15, 0.85]);
    assert.equal(await shares('--ablate', 'even-mixture'), [0.5, 0.5]);
    assert.equal(await shares('--ablate', 'expert-as-hub'), [0.15, 0.85]);
  });
});

test.run();
