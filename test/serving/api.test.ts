/** The server as an API: `serve(models, options)`. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DenseModel, type ServeOptions, serve } from '../../lib/index.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { inTemporaryFolder, writeModel } from '../support/models.js';

test('serve answers for models by their names until it is closed, and leaves the models to the caller', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    using model = await DenseModel.load(device, await writeModel(device, join(folder, 'tiny')));
    const options = { port: 0, apiKey: 'k', maxTokens: 3 } satisfies ServeOptions;
    let url = '';
    {
      await using server = await serve({ first: model, 'the second': model }, options);
      url = server.url;
      const headers = { Authorization: 'Bearer k', 'Content-Type': 'application/json' };
      const list = await (await fetch(`${url}/v1/models`, { headers })).json();
      assert.equal(
        (list as { data: { id: string }[] }).data.map(({ id }) => id),
        ['first', 'the second'],
      );
      const ask = (max_tokens: number) =>
        fetch(`${url}/v1/completions`, {
          method: 'POST',
          headers,
          body: JSON.stringify({ model: 'the second', prompt: 'x', max_tokens }),
        });
      assert.equal(
        [(await ask(3)).status, (await ask(4)).status, (await fetch(`${url}/metrics`)).status],
        [200, 400, 401],
      );
      await Promise.all([server.close(), server.close()]);
      await server.close();
    }
    const gone = await fetch(`${url}/health`).catch(() => 'gone');
    assert.is(gone, 'gone');
    assert.is(model.disposed, false);
    assert.ok((await model.logits([1])).length > 0);
  });
});

test('options of serve are those of bts serve, and others are refused', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    using model = await DenseModel.load(device, await writeModel(device, join(folder, 'tiny')));
    const refused = (options: object, words: RegExp) => fails(() => serve({ model }, options), 'BAD_OPTION', words);
    await refused({ maxBodies: 3 }, /serve has no option 'maxBodies'. Did you mean 'maxBody'/);
    await refused({ port: 70_000 }, /port must be a whole number from 0 to 65535, not 70000/);
    await refused({ maxSequences: 0 }, /maxSequences must be/);
    await refused({ host: 'no.such.host.invalid' }, /cannot listen at no.such.host.invalid/);
    await fails(() => serve({}), 'BAD_OPTION', /one model at least/);
  });
});

test('what nobody expected is told to onError, and the client gets 500', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    using model = await DenseModel.load(device, await writeModel(device, join(folder, 'tiny')));
    const errors: unknown[] = [];
    await using server = await serve({ model }, { port: 0, onError: (error) => errors.push(error) });
    model.createCache = () => {
      throw new TypeError('a mistake');
    };
    const body = JSON.stringify({ prompt: 'x' });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(`${server.url}/v1/completions`, { method: 'POST', headers, body });
    assert.is(response.status, 500);
    assert.not.match(await response.text(), 'a mistake');
    assert.equal(errors.map(String), ['TypeError: a mistake']);
  });
});

test.run();
