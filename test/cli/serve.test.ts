/** `bts serve` as a process. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { callCli, startCli, until } from '../support/cli.js';
import { openCpu } from '../support/devices.js';
import { CONFIGS, inTemporaryFolder, writeModel } from '../support/models.js';

test('serves models under their names, and finishes what is there when it is stopped', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    const config = { ...CONFIGS.llama, maxPositions: 4096, eosTokens: [] };
    await writeModel(device, join(folder, 'tiny'), { config });
    const server = startCli(['serve', 'tiny', 'other=tiny', '--port', '0', '--threads', '1', '--api-key', 'k'], {
      cwd: folder,
    });
    await until(() => server.stdout().includes('\n'));
    const [line, url = ''] =
      /^'tiny', 'other' at (http:\/\/127\.0\.0\.1:\d+)\/v1, and a page at \1\n$/.exec(server.stdout()) ?? [];
    assert.ok(line, server.stdout() + server.stderr());
    assert.match(await (await fetch(url)).text(), /^<!doctype html>/);
    const headers = { 'Content-Type': 'application/json', Authorization: 'Bearer k' };
    const list = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
    assert.equal(
      list.data.map(({ id }) => id),
      ['tiny', 'other'],
    );
    const ask = { model: 'other', prompt: 'x', max_tokens: 1000, stream: true, temperature: 0, stop: ['never'] };
    const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify(ask) });
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = (await reader.read()).value ?? '';
    assert.not.match(text, '[DONE]');
    server.process.kill('SIGTERM');
    for (let next = await reader.read(); !next.done; next = await reader.read()) text += next.value;
    assert.match(text, /"finish_reason":"(length|stop)"/);
    assert.ok(text.endsWith('data: [DONE]\n\n'));
    const { code, stderr } = await server.ended;
    assert.is(code, 0, stderr);
    assert.is(stderr, '');
  });
});

test('names must differ, and options are checked before a model is loaded', async () => {
  const twice = await callCli('serve', 'models/tiny', 'others/tiny');
  assert.is(twice.error?.code, 'BAD_OPTION');
  assert.match(twice.error!.message, /two models are called 'tiny'.*other=others\/tiny/);
  for (const [option, value] of [
    ['--port', '70000'],
    ['--max-sequences', '0'],
    ['--timeout', '-1'],
  ]) {
    const { error } = await callCli('serve', 'tiny', option!, value!);
    assert.is(error?.code, 'BAD_OPTION');
    assert.match(error!.message, option!);
  }
});

test.run();
