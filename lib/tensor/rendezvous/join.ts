import { Socket } from 'node:net';
import { BtsError } from '../../base/errors.js';
import type { HostValues } from '../communicator.js';
import { type Answer, Line, parse, within } from './line.js';
import type { Meeting } from './meeting.js';

const RETRY_MS = 100;

/** Of what rank 0 says once it has given up, and whom it missed. */
const GRACE_S = 5;

/** All ranks but 0. */
export async function join(meeting: Meeting): Promise<HostValues> {
  const { rank, size, token, seconds, address, port } = meeting;
  const line = new Line(await connect(meeting), 'rank 0');
  line.write({ token, rank, size });
  const late = () => `rank 0 at ${address}:${port} did not answer within ${seconds} s`;
  const answer = parse<Answer>(await within(seconds + GRACE_S, line.next(), late));
  if (answer && 'all' in answer) return new JoinedValues(line, seconds);
  line.close();
  const why = answer?.refused ?? 'what listens there is no rank 0';
  throw new BtsError('COMMUNICATION', `${address}:${port}, where rank 0 should be, refused this process: ${why}`);
}

/** Rank 0 may not listen yet. */
async function connect({ address, port, seconds }: Meeting): Promise<Socket> {
  const end = performance.now() + seconds * 1000;
  for (;;) {
    const socket = new Socket();
    const fault = await new Promise<Error | undefined>((resolve) => {
      socket.once('error', resolve).connect(port, address, () => resolve(undefined));
    });
    if (!fault) return socket;
    socket.destroy();
    if (performance.now() > end)
      throw new BtsError(
        'COMMUNICATION',
        `rank 0 did not come: nobody listened at ${address}:${port} within ${seconds} s (${fault.message})`,
      );
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

class JoinedValues implements HostValues {
  constructor(
    private readonly line: Line,
    private readonly seconds: number,
  ) {}

  async gather(text: string): Promise<string[]> {
    this.line.write(text);
    const late = () => `rank 0 did not answer within ${this.seconds} s`;
    const answer = parse<Answer>(await within(this.seconds + GRACE_S, this.line.next(), late));
    if (answer && 'all' in answer) return answer.all;
    throw new BtsError('COMMUNICATION', answer?.refused ?? 'rank 0 sent something else');
  }

  dispose(): void {
    this.line.close();
  }
}
