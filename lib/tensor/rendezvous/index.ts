import type { HostValues } from '../communicator.js';
import { host } from './host.js';
import { join } from './join.js';
import type { Meeting } from './meeting.js';

/**
 * The ranks of an engine that carries tensors alone, where the launcher has no channel of its own: rank 0 listens, all others
 * connect, and NCCL's id and small values of the host go through it. A rank whose connection ends is gone. Throws COMMUNICATION
 * that names those which did not come.
 */
export function meet(meeting: Meeting): Promise<HostValues> {
  return meeting.rank === 0 ? host(meeting) : join(meeting);
}
