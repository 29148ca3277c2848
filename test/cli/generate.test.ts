import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { GenerateOptions } from '../../lib/model/decoding/options.js';
import { loadModel } from '../../lib/model/load-model.js';
import { callCli, runCli, startCli, until, writeProject } from '../support/cli.js';
import { openCpu, shared } from '../support/devices.js';
import { inTemporaryFolder } from '../support/models.js';

/** What the library generates. */
async function generated(folder: string, prompt: string, options: GenerateOptions) {
  using device = openCpu();
  using model = await loadModel(device, folder);
  let text = '';
  const tokens: number[] = [];
  for await (const token of model.generate(prompt, options)) {
    text += token.text;
    tokens.push(token.id);
  }
  return { text, tokens };
}

test('generate prints what the library generates', async () => {
  await inTemporaryFolder(async (cwd) => {
    await writeProject(cwd);
    const expected = await generated(join(cwd, 'hub'), 'let x', { maxTokens: 12, temperature: 0 });
    const args = ['--max-tokens', '12', '--temperature', '0'];
    const piped = await runCli(['generate', 'hub', '-', ...args], { cwd, input: 'let x\n' });
    assert.is(piped.code, 0, piped.stderr);
    assert.is(piped.stdout, `${expected.text}\n`);
    assert.is(piped.stderr, '', 'statistics are for terminals');

    const { text, tokens, finish, ...times } = JSON.parse(
      (await callCli('generate', join(cwd, 'hub'), 'let x', ...args, '--json')).stdout,
    );
    assert.equal({ text, tokens }, expected);
    assert.is(finish, 'length');
    assert.ok(times.tokensPerSecond > 0);
    assert.ok(times.firstTokenMs > 0);
  });
});

test('generate --chat answers a message by the chat template', async () => {
  await inTemporaryFolder(async (cwd) => {
    await writeProject(cwd);
    const hub = join(cwd, 'hub');
    const args = ['generate', hub, 'Hi', '--chat', '--max-tokens', '6', '--seed', '2', '--json'];
    const refused = await callCli(...args);
    assert.is(refused.error?.code, 'BAD_TOKENIZER');
    const config = join(hub, 'tokenizer_config.json');
    const template =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ '<a>' if add_generation_prompt }}";
    await writeFile(config, JSON.stringify({ ...JSON.parse(await readFile(config, 'utf8')), chat_template: template }));
    const { text, tokens } = JSON.parse((await callCli(...args)).stdout);
    assert.equal({ text, tokens }, await generated(hub, '<user>Hi<a>', { maxTokens: 6, seed: 2 }));
    const empty = await callCli('generate', hub, '--chat');
    assert.match(empty.error?.message ?? '', '--chat answers a message');
  });
});

test('generate samples as it is told, and stops at a stop string', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const hub = join(folder, 'hub');
    const options = {
      maxTokens: 20,
      temperature: 0.8,
      topK: 99,
      topP: 0.9,
      minP: 0.01,
      repetitionPenalty: 1.2,
      seed: 3,
    };
    const { text } = await generated(hub, 'a', options);
    const stop = text.slice(3, 5);
    const args = ['--max-tokens', '20', '--temperature', '.8', '--top-k', '99', '--top-p', '.9', '--min-p', '.01'];
    const more = ['--repetition-penalty', '1.2', '--seed', '3', '--stop', 'nowhere', '--stop', stop, '--json'];
    const answer = JSON.parse((await callCli('generate', hub, 'a', ...args, ...more)).stdout);
    assert.is(answer.text, text.slice(0, text.indexOf(stop)));
    assert.is(answer.finish, 'stop');
  });
});

test('generate tells log-probabilities with --json, and only then', async () => {
  await inTemporaryFolder(async (folder) => {
    await writeProject(folder);
    const args = [
      'generate',
      join(folder, 'hub'),
      'let x',
      '--max-tokens',
      '4',
      '--temperature',
      '0',
      '--logprobs',
      '2',
    ];
    const { tokens, logProbabilities } = JSON.parse((await callCli(...args, '--json')).stdout);
    assert.is(logProbabilities.length, tokens.length);
    for (const [i, { logProbability, topLogProbabilities }] of logProbabilities.entries()) {
      assert.is(topLogProbabilities.length, 2);
      assert.equal(topLogProbabilities[0], { id: tokens[i], logProbability }, 'the likeliest was taken');
    }
    assert.match((await callCli(...args)).error!.message, /--logprobs.*--json/);
  });
});

test('generate refuses what it cannot continue', async () => {
  await inTemporaryFolder(async (cwd) => {
    await writeProject(cwd);
    const code = async (...args: string[]) => (await callCli('generate', ...args)).error?.code;
    assert.is(await code(join(cwd, 'hub'), 'x'.repeat(99)), 'BAD_OPTION');
    assert.is(await code(join(cwd, 'nowhere'), 'x'), 'FILE_NOT_FOUND');
    const binary = await runCli(['generate', 'hub', '-'], { cwd, shell: `printf '\\xff' | "$@"` });
    assert.is(binary.code, 1);
    assert.match(binary.stderr, /^bts: BAD_DATA: the prompt on stdin is not UTF-8/);
  });
});

const STORIES = shared('data/models/stories260K');

test("generate prints stories260K's published story", async () => {
  if (!existsSync(STORIES)) return console.log('stories260K: skipped, it is not here');
  const golden = JSON.parse(await readFile(join(STORIES, 'golden.json'), 'utf8'));
  const { code, stdout } = await runCli(['generate', STORIES, '--max-tokens', '256', '--temperature', '0']);
  assert.is(code, 0);
  assert.is(stdout, `${golden.published_reference.text}\n`);
});

test('generate streams, ends quietly when its reader has enough, and at Ctrl-C', async () => {
  if (!existsSync(STORIES)) return console.log('stories260K: skipped, it is not here');
  const long = ['generate', STORIES, '--max-tokens', '500', '--temperature', '0.5'];
  const cut = await runCli(long, { shell: 'set -o pipefail; "$@" | head -c 9' });
  assert.equal(cut, { code: 0, signal: null, stdout: 'Once upon', stderr: '' });

  const running = startCli(long);
  await until(() => running.stdout().length > 20);
  running.process.kill('SIGINT');
  const { code, stdout, stderr } = await running.ended;
  assert.is(code, 130);
  assert.match(stdout, /^Once upon .*\n$/s);
  assert.match(stderr, /^bts: ABORTED/);
});

test.run();
