import type { HostValues } from '../communicator.js';
import { host } from './host.js';
import { join } from './join.js';

/** Where ranks meet, and who belongs to them. */
export interface Meeting {
  rank: number;
  size: number;
  /** Of rank 0. */
  address: string;
  port: number;
  /** Who does not know it is refused. */
  token: string;
  /** After which others are given up. */
  seconds: number;
}

/**
 * The ranks of an engine that carries tensors alone, where the launcher has no channel of its own: rank 0 listens, all others
 * connect, and NCCL's id and small values of the host go through it. A rank whose connection ends is gone. Throws COMMUNICATION
 * that names those which did not come.
 */
export function meet(meeting: Meeting): Promise<HostValues> {
  return meeting.rank === 0 ? host(meeting) : join(meeting);
}
