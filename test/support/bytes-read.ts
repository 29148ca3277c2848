import { readFile } from 'node:fs/promises';

/** Bytes that this process, all of its threads together, has read from files while `work` ran; those of the count included. */
export async function bytesRead(work: () => Promise<unknown>): Promise<number> {
  const before = await readSoFar();
  await work();
  return (await readSoFar()) - before;
}

async function readSoFar(): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'latin1'))![1]);
}
