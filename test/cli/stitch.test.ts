import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { exists } from '../../lib/base/file.js';
import { StitchedModel } from '../../lib/model/stitched-model.js';
import { callCli, listFiles, startCli, until, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';
import { weights } from '../support/training.js';

async function inProject(use: (folder: string) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    await use(folder);
  });
}

/** A command line that stitches the project's models; what comes in `more` wins. */
function stitch(folder: string, ...more: string[]): string[] {
  const at = (name: string) => join(folder, name);
  const models = ['--hub', at('hub'), '--expert', `code=${at('code')}`, '--expert', `math=${at('math')}`];
  const text = ['--domain', `code=${at('code.txt')}`, '--domain', `prose=${at('math.txt')}`, '--cache', at('cache')];
  const sizes = [
    '--evaluate-tokens',
    '300',
    '--batch-size',
    '2',
    '--sequence-length',
    '16',
    '--steps',
    '4',
    '--learning-rate',
    '1e-2',
  ];
  return ['stitch', '--out', at('out'), '--threads', '1', ...models, ...text, ...sizes, ...more];
}

test('stitch trains stitches and compares the result with its members', async () => {
  await inProject(async (folder) => {
    const members = await Promise.all(['hub', 'code', 'math'].map((name) => weights(join(folder, name))));
    const { stdout, stderr, error } = await callCli(...stitch(folder, '--stitches', '2'));
    assert.is(error, undefined, error?.message);
    const rows = stdout.split('\n').slice(3);
    assert.match(stdout, /^model +code +prose +mean$/m);
    assert.equal(
      rows.map((row) => row.split(' ')[0]),
      ['hub', 'code', 'math', 'stitched', ''],
    );
    assert.match(stderr, `The stitched model is in '${join(folder, 'out')}'`);
    assert.equal(await Promise.all(['hub', 'code', 'math'].map((name) => weights(join(folder, name)))), members);

    using device = openCpu();
    using model = await StitchedModel.load(device, join(folder, 'out'));
    assert.equal(model.memberNames, ['hub', 'code', 'math']);
    assert.equal(model.manifest.plan, [
      { afterLayer: 1, kind: 'hub_into_experts' },
      { afterLayer: 3, kind: 'experts_into_hub' },
    ]);
  });
});

test('stitch makes what its options say', async () => {
  await inProject(async (folder) => {
    const kind = ['--stitches', '3', '--no-alternate', '--gate', 'scalar', '--init', 'hub', '--dropout', '0.25'];
    const args = stitch(folder, ...kind, '--experts-after-merge', 'unchanged', '--no-compare', '--json');
    const { stdout, error } = await callCli(...args);
    assert.is(error, undefined);
    const { model, steps, heldOut } = JSON.parse(stdout);
    assert.equal([model, steps], [join(folder, 'out'), 4]);
    assert.is(heldOut.length, 1);
    assert.is(heldOut[0].model, 'stitched');
    const { plan, gate, gateBias, dropout, expertsAfterMerge } = JSON.parse(
      await readFile(join(folder, 'out', 'bts.json'), 'utf8'),
    );
    assert.equal(
      plan,
      [1, 2, 3].map((afterLayer) => ({ afterLayer, kind: 'experts_into_hub' })),
    );
    assert.equal(
      { gate, gateBias, dropout, expertsAfterMerge },
      {
        gate: 'scalar',
        gateBias: true,
        dropout: 0.25,
        expertsAfterMerge: 'unchanged',
      },
    );
  });
});

test('the comparison is what eval says of the same models', async () => {
  await inProject(async (folder) => {
    const stitched = JSON.parse((await callCli(...stitch(folder, '--json'))).stdout);
    const args = stitch(folder).slice(stitch(folder).indexOf('--domain'), stitch(folder).indexOf('--evaluate-tokens'));
    const folders = ['hub', 'code', 'math', 'out'].map((name) => join(folder, name));
    const sizes = ['--max-tokens', '300', '--sequence-length', '16', '--batch-size', '2'];
    const { stdout, error } = await callCli('eval', ...folders, ...args, ...sizes, '--json');
    assert.is(error, undefined);
    const losses = ({ losses }: { losses: object[] }) => losses;
    assert.equal(JSON.parse(stdout).models.map(losses), stitched.heldOut.map(losses));
  });
});

test('a dry run writes nothing, and shows the mixture', async () => {
  await inProject(async (folder) => {
    const before = await listFiles(folder);
    const text = await callCli(...stitch(folder, '--dry-run'));
    assert.is(text.error, undefined);
    assert.match(text.stdout, 'code: 15 % of the rows');
    assert.match(text.stdout, 'prose: 85 % of the rows');
    const plan = JSON.parse((await callCli(...stitch(folder, '--stitches', '1', '--dry-run', '--json'))).stdout);
    assert.is(plan.trainedParameters, 5 * 256);
    assert.is(plan.parameters, 3 * 14_096 + 5 * 256);
    assert.equal(await listFiles(folder), before);
    assert.not.ok(await exists(join(folder, 'cache')));
  });
});

test('models that differ are refused with every reason, before anything is done', async () => {
  await inProject(async (folder) => {
    {
      using device = openCpu();
      await writeModel(device, join(folder, 'odd'), { config: { ...CONFIGS.llama, layers: 2 }, endOfText: '<|stop|>' });
    }
    const before = await listFiles(folder);
    const { error } = await callCli(...stitch(folder, '--expert', `odd=${join(folder, 'odd')}`));
    assert.is(error?.code, 'MEMBERS_DIFFER');
    assert.match(error!.message, 'layers: 2 in odd, 3 in the hub.');
    assert.match(error!.message, 'tokenizer: 1 of 257 tokens differ');
    assert.equal(await listFiles(folder), before);

    const missing = await callCli(...stitch(folder, '--expert', `odd=${join(folder, 'nowhere')}`));
    assert.is(missing.error?.code, 'FILE_NOT_FOUND');
    const many = await callCli(...stitch(folder, '--stitches', '4'));
    assert.is(many.error?.code, 'BAD_OPTION');
    assert.match(many.error!.message, 'stitches must be a whole number from 1 to the 3 layers');
    const long = await callCli(...stitch(folder, '--sequence-length', '64'));
    assert.is(long.error?.code, 'BAD_OPTION');
    assert.match(long.error!.message, '64 is more than the 32 positions of the hub');
  });
});

test('a run that was stopped resumes with its own options only, and ends as if it had not been stopped', async () => {
  await inProject(async (folder) => {
    const run = (...more: string[]) =>
      stitch(folder, '--dropout', '0.1', '--no-compare', '--checkpoint-every', '3', ...more);
    assert.is((await callCli(...run())).error, undefined);
    await rename(join(folder, 'out'), join(folder, 'whole'));
    for (const [options, difference] of [
      [['--gate', 'scalar'], 'gate is "scalar"'],
      [['--rank', '3'], 'rank is 3'],
      [['--init', 'hub'], 'gateBias is true'],
      [['--dropout', '0.2'], 'dropout is 0.2'],
      [['--stitches', '2'], 'plan is'],
      [['--hub', join(folder, 'math')], 'members is'],
      [['--batch-size', '3'], 'batchSize is 3, the run began with 2'],
      [['--held-out-fraction', '0'], "'code' had"],
      [['--weight', 'code=0.5'], "the weight of 'code' was 0.15"],
    ] as const) {
      const { error } = await callCli(...run('--resume', ...options));
      assert.ok(['BAD_OPTION', 'BAD_DATA'].includes(error?.code ?? ''), error?.message);
      assert.match(error!.message, difference);
    }
    assert.is((await callCli(...run('--resume'))).error, undefined);
    const file = 'stitch.safetensors';
    assert.equal(await weights(join(folder, 'out'), file), await weights(join(folder, 'whole'), file));

    await rm(join(folder, 'out'), { recursive: true });
    using device = openCpu();
    await rm(join(folder, 'code'), { recursive: true });
    await writeModel(device, join(folder, 'code'), { config: { ...CONFIGS.llama, maxPositions: 32 }, seed: 77 });
    assert.is((await callCli(...run('--resume'))).error?.code, 'MEMBER_CHANGED');
  });
});

for (const [name, exitCode] of Object.entries({ SIGTERM: 143, SIGHUP: 129 })) {
  test(`${name} during stitching leaves a checkpoint`, async () => {
    await inProject(async (folder) => {
      const long = stitch(folder, '--steps', '100000');
      const metrics = join(folder, 'out.training', 'metrics.jsonl');
      const underWay = async () => (await exists(metrics)) && (await readFile(metrics)).length > 0;

      const running = startCli(long);
      await until(underWay);
      running.process.kill(name as NodeJS.Signals);
      const ended = await running.ended;
      assert.is(ended.code, exitCode, ended.stderr);
      assert.match(ended.stderr, 'Run the same command with --resume to go on.');
      assert.ok(await exists(join(folder, 'out.training')));
      assert.match((await listFiles(join(folder, 'out.training'))).join(), /step-\d+\/training\/state.json/);
    });
  });
}

test.run();
