/** Who may come where ranks meet by TCP. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { BtsError } from '../../lib/base/errors.js';
import { meet } from '../../lib/tensor/rendezvous/index.js';
import { freePort } from '../distributed/nccl-stand-in.js';

const test = suite('ranks that meet by TCP');

const meeting = (port: number, token: string) => ({ size: 2, address: '127.0.0.1', port, token, seconds: 5 });

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
  while (!(await at('127.0.0.1'))) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.is(await at(other), false);
  const values = await Promise.all([waiting, meet({ ...meeting(port, 'this'), rank: 1 })]);
  for (const each of values) each.dispose();
});

test.run();
