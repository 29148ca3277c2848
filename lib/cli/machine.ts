import { totalmem } from 'node:os';

/** Bytes of memory that this process may use: the machine's, or what its container is limited to. */
export function machineMemory(): number {
  const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.min(totalmem(), limit);
}
