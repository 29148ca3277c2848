import { BtsError } from '../../base/errors.js';
import type { HostValues } from '../communicator.js';
import { host } from './host.js';
import { join } from './join.js';
import { isLoopback, type Meeting } from './meeting.js';

/**
 * The ranks of an engine that carries tensors alone, where the launcher has no channel of its own: rank 0 listens, all others
 * connect, and NCCL's id and small values of the host go through it. A rank whose connection ends is gone. Throws COMMUNICATION
 * that names those which did not come.
 */
export async function meet(meeting: Meeting): Promise<HostValues> {
  const { address, token } = meeting;
  if (token === '' && !isLoopback(address) && address !== 'localhost')
    throw new BtsError(
      'BAD_OPTION',
      `ranks that meet at ${address} need a token, by which strangers are told apart: set BTS_JOB_TOKEN to the same secret for all.`,
    );
  return await (meeting.rank === 0 ? host(meeting) : join(meeting));
}
