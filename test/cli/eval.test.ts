import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { prepareTokens } from '../../lib/data/token-shards.js';
import { heldOutLosses } from '../../lib/eval/held-out-loss.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { callCli, runCli, writeProject } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

async function inProject(use: (folder: string, text: string[]) => Promise<void>): Promise<void> {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const domains = ['code', 'math'].flatMap((name) => ['--domain', `${name}=${join(folder, `${name}.txt`)}`]);
    await use(folder, [...domains, '--cache', join(folder, 'cache'), '--threads', '1']);
  });
}

test('eval shows what models reach on each domain, the best marked', async () => {
  await inProject(async (cwd) => {
    const args = [
      'eval',
      'hub',
      'code',
      '--domain',
      'code=code.txt',
      '--domain',
      'math=math.txt',
      '--max-tokens',
      '200',
    ];
    const { code, stdout, stderr } = await runCli(args, { cwd });
    assert.is(code, 0, stderr);
    const [head, , hub, expert] = stdout.split('\n');
    assert.match(head!, /^model +code +math +mean +code perplexity +math perplexity$/);
    assert.match(hub!, /^hub +\d\.\d{3}/);
    assert.match(expert!, /^code +\d\.\d{3}/);
    assert.is(stdout.match(/\*/g)?.length, 5, 'one mark a column');
  });
});

test('eval gives the numbers of the library, for the held-out part or all of the text', async () => {
  await inProject(async (folder, text) => {
    using device = openCpu();
    using model = await DenseModel.load(device, join(folder, 'hub'));
    for (const [split, heldOutFraction] of [
      ['held-out', 0.2],
      ['all', 0],
    ] as const) {
      const part = split === 'all' ? [] : ['--held-out-fraction', `${heldOutFraction}`];
      const options = [...part, '--sequence-length', '20', '--split', split, '--json'];
      const { stdout, error } = await callCli('eval', join(folder, 'hub'), ...text, ...options);
      assert.is(error, undefined);
      const result = JSON.parse(stdout);
      assert.is(result.split, split);
      assert.is(result.sequenceLength, 20);
      const [{ losses }] = result.models;
      for (const [i, name] of ['code', 'math'].entries()) {
        const paths = [join(folder, `${name}.txt`)];
        const { tokenizer } = model;
        await using tokens = await prepareTokens({
          name,
          paths,
          tokenizer,
          cacheFolder: join(folder, 'own'),
          heldOutFraction,
        });
        const heldOut = split === 'all' ? tokens.train : tokens.heldOut;
        const expected = await heldOutLosses(model, [{ name, heldOut }], { sequenceLength: 20 });
        assert.equal(losses[i], expected[0]);
      }
    }
  });
});

test('eval writes Markdown, and takes sequences that all models take', async () => {
  await inProject(async (folder, text) => {
    using device = openCpu();
    await writeModel(device, join(folder, 'short'), { config: { ...CONFIGS.llama, maxPositions: 9 }, seed: 5 });
    const models = [join(folder, 'hub'), join(folder, 'short')];
    const { stdout, error } = await callCli('eval', ...models, ...text, '--max-tokens', '50', '--markdown');
    assert.is(error, undefined);
    assert.match(stdout, /^\| model +\| +code \|/);
    assert.match(stdout, /\*\*\d\.\d{3}\*\*/);
    const json = await callCli('eval', ...models, ...text, '--max-tokens', '50', '--json');
    assert.is(JSON.parse(json.stdout).sequenceLength, 9);
    assert.is(JSON.parse(json.stdout).models[0].losses[0].tokens, 50);
    const long = await callCli('eval', ...models, ...text, '--sequence-length', '10');
    assert.is(long.error?.code, 'BAD_OPTION');
    assert.match(long.error!.message, /10 is more than the 9 positions of '.*short'/);
  });
});

test('models with different tokenizers are not marked against each other', async () => {
  await inProject(async (folder, text) => {
    using device = openCpu();
    await writeModel(device, join(folder, 'other'), { endOfText: '<|stop|>', seed: 5 });
    const { stdout, stderr } = await callCli('eval', join(folder, 'hub'), join(folder, 'other'), ...text);
    assert.not.match(stdout, '*');
    assert.match(stderr, 'different tokenizers');
  });
});

test('eval looks at all folders before it begins', async () => {
  await inProject(async (folder, text) => {
    const missing = await callCli('eval', join(folder, 'hub'), join(folder, 'nowhere'), ...text);
    assert.is(missing.error?.code, 'FILE_NOT_FOUND');
    assert.is(missing.stderr, '', 'no text was read');
    await writeFile(join(folder, 'code.txt'), ' ');
    assert.is((await callCli('eval', join(folder, 'hub'), ...text)).error?.code, 'BAD_DATA');
  });
});

test('eval refuses to switch between one domain before it reads anything, and says nothing is done that failed', async () => {
  await inProject(async (folder, text) => {
    const hub = join(folder, 'hub');
    const one = await callCli('eval', hub, ...text.slice(0, 2), '--switching');
    assert.is(one.error?.code, 'BAD_OPTION');
    assert.match(one.error!.message, /--switching .*name two with --domain/);
    assert.is(one.stderr, '');
    const short = await callCli('eval', hub, ...text, '--switching', '--max-tokens', '3');
    assert.is(short.error?.code, 'BAD_DATA');
    assert.not.match(short.stderr, 'evaluated');
    const good = await callCli('eval', hub, ...text, '--switching', '--max-tokens', '200');
    assert.is(good.error, undefined);
    assert.match(good.stderr, /evaluated .*hub/);
    assert.match(good.stdout, /switching/);
  });
});

test.run();
