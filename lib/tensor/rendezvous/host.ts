import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { BtsError } from '../../base/errors.js';
import { errorCode } from '../../base/file.js';
import type { HostValues } from '../communicator.js';
import { type Hello, Line, namesOf, parse, toLine, within } from './line.js';
import type { Meeting } from './meeting.js';

/** A stranger's first line is not read beyond that. */
const MOST_CHARACTERS = 4096;

/** Rank 0: listens until all have come. */
export async function host(meeting: Meeting): Promise<HostValues> {
  const { size, port, seconds } = meeting;
  const lines = new Map<number, Line>();
  const strangers = new Set<Socket>();
  const server = createServer();
  await listen(server, meeting);
  try {
    await within(seconds, allCome(server, meeting, lines, strangers), () => {
      const missing = Array.from({ length: size - 1 }, (_, i) => i + 1).filter((rank) => !lines.has(rank));
      return `${namesOf(missing)} did not come to port ${port} of rank 0 within ${seconds} s`;
    });
  } catch (error) {
    end(lines, (error as Error).message);
    throw error;
  } finally {
    server.close();
    for (const socket of strangers) socket.destroy();
  }
  for (const line of lines.values()) line.write({ all: [] });
  return new HostedValues(lines, seconds);
}

/**
 * At the address where the others look for rank 0, and nowhere else; at all, where that is a name, which may mean another address
 * to them, or is not one of this machine's own.
 */
async function listen(server: Server, { address, port }: Meeting): Promise<void> {
  try {
    const own = isIP(address) || address === 'localhost' ? address : undefined;
    await listenAt(server, port, own).catch((error) => {
      if (errorCode(error) !== 'EADDRNOTAVAIL') throw error;
      return listenAt(server, port);
    });
  } catch (error) {
    throw new BtsError('COMMUNICATION', `rank 0 cannot listen on MASTER_PORT ${port}: ${(error as Error).message}`);
  }
}

function listenAt(server: Server, port: number, host?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function end(lines: ReadonlyMap<number, Line>, refused: string): void {
  for (const line of lines.values()) {
    line.write({ refused });
    line.close();
  }
}

/** Takes everybody in who belongs to the job; who does not is told so. */
function allCome(server: Server, meeting: Meeting, lines: Map<number, Line>, strangers: Set<Socket>): Promise<void> {
  return new Promise((resolve) => {
    const admit = (socket: Socket, text: string) => {
      const hello = parse<Hello>(text);
      const refused = whyNot(hello, meeting, lines);
      if (!hello || refused !== undefined) return socket.end(toLine({ refused: refused ?? 'it is no rank' }));
      strangers.delete(socket);
      const line = new Line(socket, `rank ${hello.rank}`);
      lines.set(hello.rank, line);
      // Started anew before all had come, it may come again.
      socket.once('close', () => server.listening && lines.delete(hello.rank));
      if (lines.size === meeting.size - 1) resolve();
    };
    server.on('connection', (socket) => {
      strangers.add(socket);
      let text = '';
      const read = (part: Buffer) => {
        text += part.toString('utf8');
        if (text.length > MOST_CHARACTERS) return socket.destroy();
        if (!text.endsWith('\n')) return;
        socket.off('data', read);
        admit(socket, text);
      };
      socket.on('data', read).on('error', () => socket.destroy());
      socket.on('close', () => strangers.delete(socket));
    });
  });
}

function whyNot(hello: Hello | undefined, { token, size }: Meeting, lines: Map<number, Line>): string | undefined {
  if (!isSameToken(hello?.token, token)) return 'it belongs to another job (BTS_JOB_TOKEN)';
  if (hello!.size !== size) return `it was started as one of ${hello!.size}, rank 0 as one of ${size}`;
  if (!(Number.isInteger(hello!.rank) && hello!.rank > 0 && hello!.rank < size))
    return `it says that it is rank ${hello!.rank}`;
  return lines.has(hello!.rank) ? `there are two ranks ${hello!.rank}` : undefined;
}

/** In a time that tells nothing of where they differ. */
function isSameToken(given: unknown, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return typeof given === 'string' && timingSafeEqual(digest(given), digest(token));
}

/** All texts go through rank 0. */
class HostedValues implements HostValues {
  constructor(
    private readonly lines: ReadonlyMap<number, Line>,
    private readonly seconds: number,
  ) {}

  async gather(text: string): Promise<string[]> {
    const all = [text];
    const came = [...this.lines].map(async ([rank, line]) => {
      all[rank] = JSON.parse(await line.next());
    });
    try {
      await within(this.seconds, Promise.all(came), () => {
        const missing = [...this.lines.keys()].filter((rank) => all[rank] === undefined).sort((a, b) => a - b);
        return `${namesOf(missing)} did not come within ${this.seconds} s`;
      });
    } catch (error) {
      end(this.lines, (error as Error).message);
      throw error;
    }
    for (const line of this.lines.values()) line.write({ all });
    return all;
  }

  dispose(): void {
    for (const line of this.lines.values()) line.close();
  }
}
