/** What `npm run bench -- load` does for minutes, for a few seconds: it throws what was wrong. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { benchLoad } from '../../bench/load.js';

test('bad input and 64 clients at once: right statuses, and each answer is the one that is given alone', async () => {
  const row = await benchLoad({ minutes: 0.25, halfOpen: 300 });
  for (const what of ['answers', 'refusals', 'leavers']) assert.ok(Number(row[what]) > 0, `${what}: ${row[what]}`);
  assert.is(row.half_open_refused, 0);
});

test.run();
