/** The loss on texts that switch from one domain to another. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ArrayTokens } from '../../lib/data/token-stream.js';
import { switchingLoss, switchingTokens } from '../../lib/eval/switching.js';
import { DenseModel } from '../../lib/model/dense-model.js';
import { fails } from '../data/data-fixtures.js';
import { openCpu } from '../support/devices.js';
import { close, inTemporaryFolder, randomTokens, writeModel } from '../support/models.js';

const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
const domain = (name: string, tokens: ArrayLike<number>) => ({ name, heldOut: new ArrayTokens(tokens) });

test('every sequence is half of one domain and half of another, each pair as often', async () => {
  const domains = [domain('a', range(100, 17)), domain('b', range(200, 40)), domain('c', range(300, 40))];
  const stream = await switchingTokens(domains, { sequenceLength: 4 });
  const tokens = [...(await stream.read(0, stream.length))];
  assert.is(tokens.length, 2 * 6 * 4 + 1, 'two rounds of six pairs: the shortest domain has tokens for no more');
  const rows = range(0, 12).map((i) => tokens.slice(4 * i, 4 * i + 4));
  assert.equal(rows[0], [100, 101, 200, 201]);
  assert.equal(rows[1], [102, 103, 300, 301]);
  assert.equal(rows[2], [202, 203, 104, 105]);
  const pairs = rows.map((row) => row.map((token) => Math.floor(token / 100)).join(''));
  assert.equal([...pairs.slice(0, 6)].sort(), ['1122', '1133', '2211', '2233', '3311', '3322']);
  assert.equal(pairs.slice(0, 6), pairs.slice(6));
  assert.is(new Set(tokens.slice(0, -1)).size, 48, 'no token comes twice');
});

test('the loss is that of a model on these sequences', async () => {
  await inTemporaryFolder(async (folder) => {
    using device = openCpu();
    using model = await DenseModel.load(device, await writeModel(device, join(folder, 'model')));
    const domains = [domain('a', randomTokens(50, 1)), domain('b', randomTokens(50, 2))];
    const options = { sequenceLength: 8, batchSize: 3, maxTokens: 16 };
    const { loss, tokens } = await switchingLoss(model, domains, options);
    const ids = await (await switchingTokens(domains, options)).read(0, 33);
    assert.is(tokens, 32);
    const batch = { inputs: ids.slice(0, 32), targets: ids.slice(1), batch: 4, tokens: 8 };
    close([loss], [await model.loss(batch)], 1e-5);
  });
});

test('too little text and a single domain are refused', async () => {
  const short = [domain('a', range(0, 7)), domain('b', range(0, 50))];
  await fails(() => switchingTokens(short, { sequenceLength: 8 }), 'BAD_DATA', /8 held-out tokens.*one has 7/);
  await fails(() => switchingTokens(short.slice(1), { sequenceLength: 8 }), 'BAD_OPTION', /two at least/);
});

test.run();
