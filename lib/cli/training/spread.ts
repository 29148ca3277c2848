/** Whether each rank has all members of a model, or one. */
import { hostname } from 'node:os';
import { BtsError } from '../../base/errors.js';
import { count } from '../../base/schema.js';
import { note } from '../../terminal/output.js';
import type { Ranks } from '../options/ranks.js';

export const spreadOptions = {
  membersPerDevice: count().optional().meta({
    description:
      'Of several processes, members that each one holds: 1, or all (default: all, where they fit into memory; else 1)',
  }),
};

/**
 * Of how many ranks each is to have one of the members; 1 where each has all of them. Throws BAD_OPTION for what is neither.
 *
 * @param bytes that a training step of all members takes
 */
export async function chooseSpread(
  { device, communicator }: Ranks,
  members: number,
  { membersPerDevice }: { membersPerDevice?: number | undefined },
  bytes: number,
): Promise<number> {
  if (membersPerDevice === 1) return members;
  if (membersPerDevice === members) return 1;
  if (membersPerDevice !== undefined)
    throw new BtsError(
      'BAD_OPTION',
      `--members-per-device is ${membersPerDevice}: a device holds 1 of the ${members} members, or all of them.`,
    );
  if (communicator.size % members !== 0) return 1;
  // Processes of one machine have its memory together.
  const host = hostname();
  const hosts = await communicator.gather(host);
  const shares = device.name === 'cpu' ? hosts.filter((other) => other === host).length : 1;
  const fit = await communicator.gather(shares * bytes <= device.memoryBytes);
  if (fit.every((fits) => fits)) return 1;
  if (communicator.rank === 0)
    note(
      `All ${members} members do not fit into each process's memory: each has one of them, and ${communicator.size / members} batches are computed at a time (--members-per-device).`,
    );
  return members;
}
