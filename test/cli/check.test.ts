import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { callCli, runCli, writeProject } from '../support/cli.js';
import { openCpu, shared } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

test('check passes models that fit and estimates their cost', async () => {
  await inTemporaryFolder(async (cwd) => {
    await writeProject(cwd);
    const args = ['check', '--hub', 'hub', '--expert', 'code=code', '--expert', 'math=math', '--sequence-length', '32'];
    const { code, stdout, stderr } = await runCli(args, { cwd });
    assert.is(code, 0, stderr);
    assert.match(stdout, /^hub +hub +14,096 +F32$/m);
    assert.match(stdout, /^training step +at least /m);
    assert.match(stdout, /These models can be stitched.\n$/);
  });
});

test('check --json gives findings and costs; too little memory is a warning', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const experts = ['code', 'math'].flatMap((name) => ['--expert', `${name}=${join(folder, name)}`]);
    const args = ['check', '--hub', join(folder, 'hub'), ...experts, '--stitches', '2', '--batch-size', '1000000000'];
    const { stdout, exitCode, error } = await callCli(...args, '--json');
    assert.is(error, undefined);
    assert.is(exitCode, 0);
    const { ok, members, findings, cost, memoryBytes } = JSON.parse(stdout);
    assert.is(ok, true);
    assert.equal(
      members.map(({ name }: { name: string }) => name),
      ['hub', 'code', 'math'],
    );
    assert.equal(
      findings.map((finding: object) => Object.keys(finding)),
      [['level', 'code', 'member', 'message']],
    );
    assert.is(findings[0].code, 'NOT_ENOUGH_MEMORY');
    assert.is(findings[0].level, 'warning');
    assert.ok(cost.trainingBytes > memoryBytes);
    // Two stitches of three gates and two projections, 16 x 16 each.
    assert.is(cost.trainedParameters, 2 * 5 * 256);
    assert.is(cost.parameters, 3 * 14_096 + 2 * 5 * 256);
    // Keys and values of two heads of width four, in three layers of three members.
    assert.is(cost.cacheBytes, 2 * 2 * 4 * 3 * 3 * 4);
    assert.is(cost.wideningBytes, 0);
  });
});

test('check tells what a GPU widens members in codes in', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const members = [
      '--hub',
      join(folder, 'hub'),
      '--expert',
      `code=${join(folder, 'code')}`,
      '--quantize',
      'code=int4',
    ];
    const { stdout } = await callCli('check', ...members, '--json');
    // The two halves of the expert's feed-forward part, [24,16] each, at once.
    assert.is(JSON.parse(stdout).cost.wideningBytes, 2 * 2 * 24 * 16);
    const both = await callCli('check', ...members, '--members', 'int8', '--json');
    assert.is(JSON.parse(both.stdout).cost.wideningBytes, 2 * 2 * 2 * 24 * 16);
    const { stdout: shown } = await callCli('check', ...members);
    assert.match(shown, /^widening +another 1.5 KiB on a GPU/m);
  });
});

test('check refuses models that differ, with all reasons and exit code 1', async () => {
  await inTemporaryFolder(async (cwd) => {
    {
      using device = openCpu();
      await writeModel(device, join(cwd, 'hub'));
      await writeModel(device, join(cwd, 'deep'), { config: { ...CONFIGS.llama, layers: 4, maxPositions: 32 } });
      await writeModel(device, join(cwd, 'odd'), { seed: 2, endOfText: '<|stop|>' });
    }
    const args = ['check', '--hub', 'hub', '--expert', 'deep=deep', '--expert', 'odd=odd', '--expert', 'none=none'];
    const { code, stdout } = await runCli(args, { cwd });
    assert.is(code, 1);
    for (const line of [
      'error DIFFERENT_LAYERS',
      'layers: 4 in deep, 3 in the hub.',
      'warning DIFFERENT_MAX_POSITIONS',
      'error DIFFERENT_TOKENIZER',
      'error FILE_NOT_FOUND',
      'These models cannot be stitched: 3 errors.',
    ]) {
      assert.match(stdout, line);
    }
  });
});

test('check refuses experts named twice, named hub, or not named', async () => {
  const told = async (...experts: string[]) => {
    const { error } = await callCli('check', '--hub', 'h', ...experts.flatMap((expert) => ['--expert', expert]));
    return error!.message;
  };
  assert.match(await told('a=x', 'a=y'), "'a' is given twice");
  assert.match(await told('hub=x'), "--expert: 'hub' is the name of the hub");
  assert.match(await told('x'), 'expected NAME=VALUE');
  assert.match(await told('../a=x'), '--expert ../a: a name has letters, digits');
  assert.match(await told(), '--expert is missing');
});

const STORIES = shared('data/models/stories260K');

test('check refuses stories260K and aidreams260K, with every reason', async () => {
  if (!existsSync(STORIES)) return console.log('stories260K: skipped, it is not here');
  const { stdout, exitCode } = await callCli(
    ...['check', '--hub', STORIES, '--expert', `other=${shared('data/models/aidreams260K')}`],
  );
  assert.is(exitCode, 1);
  for (const reason of [
    'layers: 4 in other, 5 in the hub.',
    'attention heads: 4 over 4 key/value heads in other, 8 over 4 key/value heads in the hub.',
    'width of a head: 16 in other, 8 in the hub.',
    'max positions: 128 in other, 512 in the hub.',
    'tokenizer: 251 of 512 tokens differ',
  ]) {
    assert.match(stdout, reason);
  }
});

test.run();
