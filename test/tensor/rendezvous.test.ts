/** Who may come where ranks meet by TCP. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { BtsError } from '../../lib/base/errors.js';
import { meet } from '../../lib/tensor/rendezvous/index.js';
import { freePort } from '../distributed/nccl-stand-in.js';

const test = suite('ranks that meet by TCP');

const meeting = (port: number, token: string) => ({ size: 2, address: '127.0.0.1', port, token, seconds: 5 });

/** A connection to rank 0, once it listens. */
async function reach(port: number): Promise<Socket> {
  for (;;) {
    const socket = connect(port, '127.0.0.1');
    const came = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    if (came) return socket;
    await setTimeout(20);
  }
}

test('two meet, and gather values', async () => {
  const port = await freePort();
  const all = await Promise.all([0, 1].map((rank) => meet({ ...meeting(port, 'this'), rank })));
  const long = 'ä\n'.repeat(100_000);
  assert.equal(await Promise.all(all.map((values, rank) => values.gather(`${rank}${long}`))), [
    [`0${long}`, `1${long}`],
    [`0${long}`, `1${long}`],
  ]);
  for (const values of all) values.dispose();
});

test('an empty token is enough on one machine alone', async () => {
  const error = (await meet({ ...meeting(29_500, ''), address: '192.0.2.1', rank: 0 }).catch(
    (error) => error,
  )) as BtsError;
  assert.is(error.code, 'BAD_OPTION');
  assert.match(error.message, 'set BTS_JOB_TOKEN');
});

test('rank 0 listens where it is looked for, and nowhere else', async () => {
  const other = Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;
  if (!other) return console.log('listening: skipped, this machine has one address');
  const port = await freePort();
  const waiting = meet({ ...meeting(port, 'this'), rank: 0 });
  const at = async (address: string) => {
    const socket = connect(port, address);
    const came = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    return came;
  };
  while (!(await at('127.0.0.1'))) await setTimeout(20);
  assert.is(await at(other), false);
  const values = await Promise.all([waiting, meet({ ...meeting(port, 'this'), rank: 1 })]);
  for (const each of values) each.dispose();
});

test('who has another token is told so, whatever it is, and keeps nobody from coming', async () => {
  const port = await freePort();
  const waiting = meet({ ...meeting(port, 'this'), rank: 0 });
  for (const token of ['that', '', null, 7, ['this'], { toString: 1 }]) {
    const socket = await reach(port);
    socket.write(`${JSON.stringify({ token, rank: 1, size: 2 })}\n`);
    const [answer] = await once(socket, 'data');
    assert.match(`${answer}`, 'it belongs to another job');
    socket.destroy();
  }
  const values = await Promise.all([waiting, meet({ ...meeting(port, 'this'), rank: 1 })]);
  for (const each of values) each.dispose();
});

test.run();
