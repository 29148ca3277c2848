/** Every call of a communicator on several processes, against what one process computes. */
import { suite } from 'uvu';
import { expectCalls } from './expected.js';
import { buildStandIn, freePort } from './nccl-stand-in.js';
import type { Calls } from './programs.js';
import { noEmulation, noMpi, runProcesses, runRanks, valuesOf } from './ranks.js';

const calls = suite('calls');
const why = noMpi();
const whyNotEmulated = noEmulation();
if (whyNotEmulated !== undefined) console.log(`calls on the emulation: skipped, ${whyNotEmulated}`);
const standIn = whyNotEmulated === undefined ? buildStandIn() : undefined;
calls.after(() => standIn?.remove());

const MPI_RUNS: readonly [device: string, size: number][] = [
  ['cpu', 2],
  ['cpu', 3],
  ['cpu', 4],
  ['cpu', 8],
  ['cuda-emulated/f32', 2],
  ['cuda-emulated/bf16', 3],
];

if (why !== undefined) console.log(`calls by MPI: skipped, ${why}`);
else
  for (const [device, size] of MPI_RUNS.filter(([device]) => device === 'cpu' || !whyNotEmulated))
    calls(`${size} ranks on ${device} by MPI`, async () => {
      expectCalls(valuesOf<Calls>(await runRanks('calls', size, { device })));
    });

if (!standIn) console.log('calls by NCCL: skipped, it takes the emulation, and gcc for what stands in for its library');
else {
  calls("4 ranks on the emulation by what stands in for NCCL, which meet at rank 0's port", async () => {
    const env = { ...standIn.env, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${await freePort()}` };
    expectCalls(valuesOf<Calls>(await runProcesses('calls', 4, { device: 'cuda-emulated/f32', env })));
  });

  if (why === undefined)
    calls('2 ranks on the emulation by what stands in for NCCL, which meet by MPI', async () => {
      expectCalls(valuesOf<Calls>(await runRanks('calls', 2, { device: 'cuda-emulated/bf16', env: standIn.env })));
    });
}

calls.run();
