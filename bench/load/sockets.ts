/** Clients that do not speak HTTP as they should: raw connections. */
import { once } from 'node:events';
import { request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { normalized, type Sent } from './requests.js';

const head = ({ path, body }: Sent, length = Buffer.byteLength(body)) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n`;

/** Sends several requests on one connection without waiting for answers: the statuses and answers in their order. */
export async function pipelined(port: number, sent: readonly Sent[]): Promise<{ status: number; text: string }[]> {
  const socket = connect(port, '127.0.0.1');
  const all = sent.map(
    (one, i) => `${head(one)}${i === sent.length - 1 ? 'Connection: close\r\n' : ''}\r\n${one.body}`,
  );
  socket.write(all.join(''));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const answers: { status: number; text: string }[] = [];
  for (let rest = Buffer.concat(chunks); rest.length > 0; ) {
    const end = rest.indexOf('\r\n\r\n');
    const headers = rest.subarray(0, end).toString();
    const length = Number(/^content-length: *(\d+)/im.exec(headers)?.[1]);
    const body = rest.subarray(end + 4, end + 4 + length);
    answers.push({ status: Number(headers.split(' ')[1]), text: normalized(body.toString()) });
    rest = rest.subarray(end + 4 + length);
  }
  return answers;
}

/** Leaves once an answer has begun, or before that. */
export async function leave(url: string, { path, body }: Sent, waits: boolean): Promise<void> {
  const call = request(url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' } });
  call.on('error', () => {});
  call.end(body);
  if (waits) {
    const [response] = await once(call, 'response');
    await once(response, 'data');
  } else await sleep(5);
  call.destroy();
}

/** Reads an answer a little at a time. */
export async function readSlowly(url: string, { path, body }: Sent): Promise<string> {
  const call = request(url + path, { method: 'POST', headers: { 'Content-Type': 'application/json' } });
  call.end(body);
  const [response] = await once(call, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk as Buffer);
    await sleep(20);
  }
  return normalized(Buffer.concat(chunks).toString());
}

const AGAIN_MS = 10_000;

/** Holds so many connections open that say nothing, or not all; those that the server ends are opened again. */
export class HalfOpen {
  /** That the server ended. */
  ended = 0;
  /** That it did not take. */
  refused = 0;
  private readonly sockets = new Set<Socket>();
  private isOver = false;

  constructor(
    private readonly port: number,
    count: number,
  ) {
    for (let i = 0; i < count; i++) setTimeout(() => this.open(i), 5 * i).unref();
  }

  private open(i: number): void {
    if (this.isOver) return;
    const socket = connect(this.port, '127.0.0.1');
    this.sockets.add(socket);
    let isOpen = false;
    socket.on('connect', () => {
      isOpen = true;
      const whole = { path: '/v1/completions', body: 'x'.repeat(1000) };
      const parts = [
        '',
        'PO',
        head(whole),
        `${head(whole, 1e6)}\r\n{"prompt": "`,
        'nonsense\r\n\r\n',
        `X: ${'y'.repeat(20_000)}`,
      ];
      socket.write(parts[i % parts.length]!);
    });
    socket.on('data', () => {});
    socket.on('error', () => {});
    socket.on('close', () => {
      this.sockets.delete(socket);
      if (isOpen) this.ended++;
      else this.refused++;
      setTimeout(() => this.open(i), AGAIN_MS).unref();
    });
  }

  close(): void {
    this.isOver = true;
    for (const socket of this.sockets) socket.destroy();
  }
}
