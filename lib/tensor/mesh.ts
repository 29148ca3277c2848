import { BtsError } from '../base/errors.js';
import { Communicator } from './communicator.js';
import { newNcclId, startNccl } from './start-nccl.js';

/** Ranks as a table: in each row the members of one model, in each column those that have the same member. */
export interface Mesh {
  /** Those that hold one model together, this rank's row: the hub's rank is 0. Of size 1 where each holds a whole model. */
  members: Communicator;
  /** Those that hold the same of it and share out batches, this rank's column. */
  replicas: Communicator;
}

/**
 * Deals ranks out: the first `members` of them hold a model together, so do the next, and so on. All ranks call it. Throws
 * BAD_OPTION unless rows are full, COMMUNICATION.
 *
 * @param communicator of all ranks, which ends the groups with itself
 * @param members that have a rank each; 1 where each rank holds a whole model
 */
export async function openMesh(communicator: Communicator, members: number): Promise<Mesh> {
  const { rank, size } = communicator;
  if (!(Number.isInteger(members) && members >= 1) || size % members !== 0)
    throw new BtsError(
      'BAD_OPTION',
      `${members} members with a rank each take a multiple of ${members} processes, and there are ${size}: start as many.`,
    );
  return {
    members: await split(communicator, Math.floor(rank / members)),
    replicas: await split(communicator, rank % members),
  };
}

/** The ranks that give the same number. */
async function split(whole: Communicator, number: number): Promise<Communicator> {
  const { device, engine, seconds } = whole;
  const numbers = await whole.gather(number);
  const ranksOf = (number: number) => [...numbers.keys()].filter((rank) => numbers[rank] === number);
  const ranks = ranksOf(number);
  const rank = ranks.indexOf(whole.rank);
  const group = { whole, ranks };
  if (ranks.length === whole.size) return whole;
  const isNobodys = numbers.every((number) => ranksOf(number).length === 1);
  if (isNobodys) return new Communicator(device, 'none', 0, 1, undefined, undefined, undefined, seconds, group);
  if (engine === 'mpi') {
    const native = whole.split(number);
    native.place();
    return new Communicator(device, 'mpi', rank, ranks.length, native, undefined, undefined, seconds, group);
  }
  const ids = await whole.gather(rank === 0 ? newNcclId() : '');
  const parts = { id: ids[ranks[0]!]!, names: ranks, of: whole.size, seconds };
  return await startNccl(parts, device, rank, (native, board) => {
    return new Communicator(device, 'nccl', rank, ranks.length, native, undefined, board, seconds, group);
  });
}
