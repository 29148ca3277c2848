import { totalmem } from 'node:os';
import { BtsError } from './errors.js';

/** Bytes of memory that this process may use: the machine's, or what its container is limited to. */
export function machineMemory(): number {
  const limit = process.constrainedMemory() || Number.POSITIVE_INFINITY;
  return Math.min(totalmem(), limit);
}

/**
 * Throws OUT_OF_MEMORY where `what` takes more than there is at all, by default of what this process may use. Asked before the work begins: what does not
 * fit beside other things is told when it is allocated.
 */
export function expectMemory(
  bytes: number,
  what: string,
  there = machineMemory(),
  whose = 'this process may use',
): void {
  if (!(bytes > there)) return;
  throw new BtsError(
    'OUT_OF_MEMORY',
    `${what} takes about ${inBytes(bytes)}; ${whose} ${inBytes(there)}. ` +
      'Take a smaller batch, shorter sequences or fewer members.',
  );
}

function inBytes(bytes: number): string {
  return `${Math.ceil(bytes).toLocaleString('en-US')} bytes (${(bytes / 2 ** 30).toFixed(1)} GiB)`;
}
