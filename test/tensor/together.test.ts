/** What ranks do together, on ranks of one process. */
import { setTimeout } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { BtsError } from '../../lib/base/errors.js';
import { expectSame } from '../../lib/tensor/agreement.js';
import { Communicator } from '../../lib/tensor/communicator.js';
import { onEach, onFirst, SharedError, together } from '../../lib/tensor/together.js';
import { openCpu } from '../support/devices.js';
import { ranksInProcess } from '../support/ranks-in-process.js';

const test = suite('what ranks do together');
const device = openCpu();
test.after(() => device.dispose());

/** What the same work comes to on each of three ranks. */
const onThree = <Value>(work: (communicator: Communicator) => Promise<Value>) =>
  Promise.all(
    ranksInProcess(device, 3).map((communicator) =>
      work(communicator).then(
        (value) => ({ value, error: undefined }),
        (error: BtsError) => ({ value: undefined, error }),
      ),
    ),
  );

test('numbers that JSON has not come as they are', async () => {
  const odd = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1 / 3];
  assert.equal(await together(Communicator.alone(device), () => odd), [odd]);
});

test('every rank gets what came of it on each; rank 0 alone does what one may do', async () => {
  const all = await onThree((ranks) => together(ranks, () => ranks.rank * 10));
  assert.equal(
    all.map(({ value }) => value),
    [
      [0, 10, 20],
      [0, 10, 20],
      [0, 10, 20],
    ],
  );
  const did: number[] = [];
  const first = await onThree((ranks) =>
    onFirst(ranks, () => {
      did.push(ranks.rank);
      return 'done';
    }),
  );
  assert.equal(
    first.map(({ value }) => value),
    ['done', 'done', 'done'],
  );
  assert.equal(did, [0]);
  const own = await onThree((ranks) => onEach(ranks, () => new Map([[ranks.rank, device]])));
  assert.equal(
    own.map(({ value }) => [...value!.keys()]),
    [[0], [1], [2]],
  );
});

test('what fails on one fails on all with the code of the cause, which that rank throws itself', async () => {
  const cause = new BtsError('OUT_OF_MEMORY', 'no more room.');
  const all = await onThree((ranks) =>
    together(ranks, () => {
      if (ranks.rank === 1) throw cause;
      // As a call fails whose other side is gone.
      if (ranks.rank === 0) throw new BtsError('COMMUNICATION', 'rank 1 could not take part.');
      return 1;
    }),
  );
  assert.equal(
    all.map(({ error }) => error?.code),
    ['OUT_OF_MEMORY', 'OUT_OF_MEMORY', 'OUT_OF_MEMORY'],
  );
  assert.is(all[1]!.error, cause);
  assert.is(all[0]!.error!.message, 'on rank 1: no more room.');
  assert.instance(all[2]!.error, SharedError);
  const bug = await onThree((ranks) =>
    together(ranks, () => ranks.rank === 2 && (undefined as never as string).length),
  );
  assert.equal(
    bug.map(({ error }) => error instanceof TypeError),
    [false, false, true],
  );
  assert.match(bug[0]!.error!.message, 'on rank 2: an unexpected error: TypeError');
});

test('those who wait for work that takes long hear of it', async () => {
  let gathers = 0;
  const all = await onThree((ranks) => {
    const { gather } = ranks;
    ranks.gather = (value) => {
      if (ranks.rank === 0) gathers++;
      return gather.call(ranks, value) as never;
    };
    return together(ranks, () => setTimeout(ranks.rank === 2 ? 50 : 0, ranks.rank), { beatMs: 10 });
  });
  assert.equal(
    all.map(({ value }) => value),
    [
      [0, 1, 2],
      [0, 1, 2],
      [0, 1, 2],
    ],
  );
  assert.ok(gathers > 2, `${gathers} gathers`);
});

test('a rank with another value is refused on all, by the name of the value', async () => {
  const rates = await onThree((ranks) => expectSame(ranks, { steps: 5, rate: ranks.rank === 2 ? Infinity : 0.1 }));
  for (const { error } of rates) {
    assert.is(error?.code, 'BAD_OPTION');
    assert.match(error!.message, 'rate is "infinite" on rank 2, and 0.1 on rank 0');
  }
  const missing = await onThree((ranks) =>
    expectSame(ranks, ranks.rank === 1 ? { a: 1 } : { a: 1, b: 'x'.repeat(500) }),
  );
  for (const { error } of missing) assert.match(error!.message, /^b is nothing on rank 1, and [0-9a-f]{64} on rank 0/);
  const same = await onThree((ranks) => expectSame(ranks, { a: [1, { b: null }] }));
  assert.equal(
    same.map(({ error }) => error),
    [undefined, undefined, undefined],
  );
});

test.run();
