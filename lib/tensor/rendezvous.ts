import { createServer, type Server, Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { BtsError } from '../base/errors.js';
import type { HostValues } from './communicator.js';

/**
 * Where ranks meet whose engine carries tensors alone: rank 0 listens, all others connect, and texts go through it. Who does not
 * know the job's token is refused. A rank whose connection ends is gone.
 */
export interface Meeting {
  rank: number;
  size: number;
  address: string;
  port: number;
  token: string;
  seconds: number;
}

/** Of one rank to another, in lines of JSON. */
interface Hello {
  token: string;
  rank: number;
  size: number;
}
type Answer = { all: string[] } | { refused: string };

/** A stranger's first line is not read beyond that. */
const MOST_HELLO = 4096;

/** All ranks, once they have come. Throws COMMUNICATION that names those which did not. */
export function meet(meeting: Meeting): Promise<HostValues> {
  return meeting.rank === 0 ? host(meeting) : join(meeting);
}

/** A connection as lines that are asked for one by one. */
class Line {
  private readonly lines: string[] = [];
  private waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | undefined;
  private ended: Error | undefined;

  constructor(
    readonly socket: Socket,
    private readonly whose: string,
  ) {
    socket
      .setNoDelay(true)
      .setKeepAlive(true, 10_000)
      .on('error', (error) => this.end(error.message));
    socket.on('close', () => this.end('its connection ended'));
    createInterface({ input: socket }).on('line', (line) => {
      if (this.waiting) this.waiting.resolve(line);
      else this.lines.push(line);
      this.waiting = undefined;
    });
  }

  next(): Promise<string> {
    const line = this.lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    if (this.ended) return Promise.reject(this.ended);
    return new Promise((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  write(value: Hello | Answer | string): void {
    this.socket.write(`${JSON.stringify(value)}\n`);
  }

  end(why: string): void {
    this.ended ??= new BtsError('COMMUNICATION', `${this.whose} is gone: ${why}`);
    this.waiting?.reject(this.ended);
    this.waiting = undefined;
    this.socket.destroy();
  }
}

async function host(meeting: Meeting): Promise<HostValues> {
  const { size, port, seconds } = meeting;
  const lines = new Map<number, Line>();
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new BtsError('COMMUNICATION', `rank 0 cannot listen on MASTER_PORT ${port}: ${error.message}`)),
    );
    server.listen(port, resolve);
  });
  try {
    await within(seconds, allCome(server, meeting, lines), () => {
      const missing = Array.from({ length: size }, (_, rank) => rank).filter((rank) => rank > 0 && !lines.has(rank));
      return `${missing.length === 1 ? 'rank' : 'ranks'} ${missing.join(', ')} did not come to port ${port} of rank 0 within ${seconds} s`;
    });
  } catch (error) {
    for (const line of lines.values()) {
      line.write({ refused: (error as Error).message });
      line.socket.end();
    }
    throw error;
  } finally {
    server.close();
  }
  for (const line of lines.values()) line.write({ all: [] });
  return new HostedValues(lines, seconds);
}

/** Takes everybody in who belongs to the job. */
function allCome(server: Server, { size, token }: Meeting, lines: Map<number, Line>): Promise<void> {
  return new Promise((resolve) => {
    const admit = (socket: Socket, text: string) => {
      const hello = parse<Hello>(text);
      const refuse = (refused: string) => socket.end(`${JSON.stringify({ refused })}\n`);
      if (hello?.token !== token) return refuse('it belongs to another job (BTS_JOB_TOKEN)');
      if (hello.size !== size) return refuse(`it was started as one of ${hello.size}, rank 0 as one of ${size}`);
      if (lines.has(hello.rank)) return refuse(`there are two ranks ${hello.rank}`);
      const line = new Line(socket, `rank ${hello.rank}`);
      lines.set(hello.rank, line);
      socket.once('close', () => lines.get(hello.rank) === line && server.listening && lines.delete(hello.rank));
      if (lines.size === size - 1) resolve();
    };
    server.on('connection', (socket) => {
      let text = '';
      socket.on('error', () => socket.destroy());
      const read = (part: Buffer) => {
        text += part.toString('utf8');
        if (text.length > MOST_HELLO) socket.destroy();
        else if (text.endsWith('\n')) {
          socket.off('data', read);
          admit(socket, text);
        }
      };
      socket.on('data', read);
    });
    if (size === 1) resolve();
  });
}

async function join(meeting: Meeting): Promise<HostValues> {
  const { rank, size, token, seconds, address, port } = meeting;
  const end = performance.now() + seconds * 1000;
  const socket = await connect(address, port, end, seconds);
  const line = new Line(socket, 'rank 0');
  line.write({ token, rank, size });
  const answer = parse<Answer>(await line.next());
  if (answer && 'all' in answer) return new JoinedValues(line, seconds);
  line.socket.destroy();
  const why = answer ? answer.refused : 'it is no rank 0';
  throw new BtsError('COMMUNICATION', `${address}:${port}, where rank 0 should be, refused this process: ${why}`);
}

/** Rank 0 may not listen yet. */
async function connect(address: string, port: number, end: number, seconds: number): Promise<Socket> {
  for (;;) {
    const socket = new Socket();
    const fault = await new Promise<Error | undefined>((resolve) => {
      socket.once('error', resolve);
      socket.connect(port, address, () => resolve(undefined));
    });
    if (!fault) return socket.removeAllListeners('error');
    socket.destroy();
    if (performance.now() > end)
      throw new BtsError(
        'COMMUNICATION',
        `rank 0 did not come: nobody listened at ${address}:${port} within ${seconds} s (${fault.message})`,
      );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** On rank 0, through which all goes. */
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
        const missing = [...this.lines.keys()].filter((rank) => all[rank] === undefined);
        return `${missing.length === 1 ? 'rank' : 'ranks'} ${missing.join(', ')} did not come within ${this.seconds} s`;
      });
    } catch (error) {
      for (const line of this.lines.values()) line.write({ refused: (error as Error).message });
      throw error;
    }
    for (const line of this.lines.values()) line.write({ all });
    return all;
  }

  dispose(): void {
    for (const line of this.lines.values()) line.socket.end();
  }
}

class JoinedValues implements HostValues {
  constructor(
    private readonly line: Line,
    private readonly seconds: number,
  ) {}

  async gather(text: string): Promise<string[]> {
    this.line.write(text);
    // Rank 0 gives up first, and says whom it missed.
    const late = () => `rank 0 did not answer within ${this.seconds} s`;
    const answer = parse<Answer>(await within(this.seconds + 5, this.line.next(), late));
    if (answer && 'all' in answer) return answer.all;
    throw new BtsError('COMMUNICATION', answer?.refused ?? 'rank 0 sent something else');
  }

  dispose(): void {
    this.line.socket.end();
  }
}

function parse<Value>(text: string): Value | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function within<Value>(seconds: number, promise: Promise<Value>, late: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new BtsError('COMMUNICATION', late())), Math.min(seconds * 1000, 2 ** 31 - 1));
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
