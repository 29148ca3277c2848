/** Connections that say nothing make room for others. */
import { once } from 'node:events';
import { Agent, createServer, get, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { limitConnections } from '../../lib/serving/http/connections.js';
import { until } from '../support/cli.js';

test('who has asked nothing for the longest time makes room; who is being answered stays', async () => {
  const waiting: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/wait') waiting.push(response);
    else response.end('now');
  });
  limitConnections(server, 5);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ask = async (path: string, by?: Agent) => {
    const call = get({ port, path, host: '127.0.0.1', agent: by ?? new Agent() });
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    return await text(response);
  };
  const ended: number[] = [];
  const silent: Socket[] = [];
  const open = async (i: number) => {
    silent[i] = connect(port, '127.0.0.1');
    silent[i].on('error', () => {}).on('close', () => ended.push(i));
    await once(silent[i], 'connect');
  };
  const slow = ask('/wait');
  await until(() => waiting.length === 1);
  for (let i = 0; i < 4; i++) await open(i);
  assert.equal(ended, []);
  for (let i = 4; i < 20; i++) {
    await open(i);
    await until(() => ended.length === i - 3);
  }
  assert.equal(
    ended,
    Array.from({ length: 16 }, (_, i) => i),
  );
  assert.is(await ask('/', agent), 'now', 'others are answered');
  // A connection that was answered is silent again, and goes in its turn.
  for (let i = 20; i < 23; i++) await open(i);
  assert.is(await ask('/', agent), 'now', 'on the same connection');
  waiting[0]!.end('at last');
  assert.is(await slow, 'at last');
  for (const socket of silent) socket.destroy();
  agent.destroy();
  server.close();
});

test('where all are being answered, one more is not taken', async () => {
  const waiting: ServerResponse[] = [];
  const server = createServer((_, response) => waiting.push(response));
  limitConnections(server, 2);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = (signal?: AbortSignal) =>
    fetch(`http://127.0.0.1:${port}/`, { signal: signal ?? null }).then((response) => response.text());
  const two = [ask(), ask()];
  await until(() => waiting.length === 2);
  assert.is(await ask(AbortSignal.timeout(5000)).catch(({ name }) => name), 'TypeError', 'the connection was ended');
  for (const response of waiting) response.end('yes');
  assert.equal(await Promise.all(two), ['yes', 'yes']);
  server.close();
  server.closeAllConnections();
});

test('who promises a body and does not send it makes room, too', async () => {
  const server = createServer((request, response) => {
    if (request.method === 'GET') response.end('now');
  });
  limitConnections(server, 3);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const promising: Socket[] = [];
  for (const length of [
    'Content-Length: 10',
    'Transfer-Encoding: chunked',
    'Content-Length: 10',
    'Content-Length: 10',
  ]) {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\n${length}\r\n\r\n`);
    const asked = once(server, 'request');
    await asked;
    promising.push(socket);
  }
  const [response] = (await once(get({ port, host: '127.0.0.1' }), 'response')) as [IncomingMessage];
  assert.is(await text(response), 'now');
  for (const socket of promising) socket.destroy();
  server.close();
});

test('a connection stays while one of its pipelined requests is being answered', async () => {
  const waiting: ServerResponse[] = [];
  const server = createServer((request, response) => {
    if (request.url === '/wait') waiting.push(response);
    else response.end('now');
  });
  limitConnections(server, 2);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const asking = connect(port, '127.0.0.1').setEncoding('utf8');
  let got = '';
  asking.on('data', (part) => {
    got += part;
  });
  asking.write('GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /wait HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => got.includes('now') && waiting.length === 1);
  const others = Array.from({ length: 4 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  await Promise.all(others.map((other) => once(other, 'close').then(() => {})).slice(0, 2));
  waiting[0]!.end('at last');
  await until(() => got.includes('at last'));
  for (const socket of [asking, ...others]) socket.destroy();
  server.close();
});

test.run();
