/** Ranks that are killed, that fail, that never come, or that make other calls: all others end, and say which and where. */
import { connect } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { buildStandIn, freePort } from './nccl-stand-in.js';
import { noEmulation, noMpi, type Report, runProcesses, runRanks } from './ranks.js';

const faults = suite('faults of ranks');
const why = noMpi();
const standIn = noEmulation() === undefined ? buildStandIn() : undefined;
faults.after(() => standIn?.remove());

/** Of a whole run: starting takes most of it. */
const SOON_MS = 60_000;
const env = { BTS_COMMUNICATION_TIMEOUT: '5' };

function expectError(report: Report | undefined, message: RegExp, code = 'COMMUNICATION'): void {
  assert.is(report?.error?.code, code, JSON.stringify(report));
  assert.match(report!.error!.message, message);
}

if (why !== undefined) console.log(`faults of ranks by MPI: skipped, ${why}`);
else {
  faults('a rank that does not make a call is named by one that waits', async () => {
    const { reports, status } = await runRanks('absent', 3, { env });
    const said = [0, 2].map((rank) => reports[rank]).filter((report) => report !== undefined);
    assert.ok(said.length > 0 && status !== 0);
    for (const report of said) expectError(report, /^all-reduce: on rank [02] of 3: rank 1 did not come within 5 s$/);
  });

  faults('also where the host waits for a value', async () => {
    const { reports } = await runRanks('absentValue', 2, { env });
    expectError(reports[0], /^gather: on rank 0 of 2: rank 1 did not come within 5 s$/);
  });

  faults('ranks that wait for one another in different calls say so', async () => {
    const { reports } = await runRanks('apart', 2, { env });
    const said = reports.filter((report) => report !== undefined);
    assert.ok(said.length > 0);
    for (const report of said)
      expectError(report, /the ranks wait for different calls \(rank [01] for (?:gather|all-reduce)\): all must/);
  });

  faults('a rank that is killed ends all, and mpirun names it', async () => {
    const { status, stderr, milliseconds } = await runRanks('killed', 3);
    assert.is.not(status, 0);
    assert.match(stderr, /process rank 1 .*signal 9/);
    assert.ok(milliseconds < SOON_MS, `${milliseconds} ms`);
  });

  faults('a rank that fails ends all', async () => {
    const { status, reports, stderr, milliseconds } = await runRanks('failing', 3);
    assert.is.not(status, 0);
    expectError(reports[1], /^no more$/, 'none');
    assert.match(stderr, /,1\]\s+Exit code: +1/);
    assert.ok(milliseconds < SOON_MS, `${milliseconds} ms`);
  });

  faults('a process that is no part of what mpirun started is told so', async () => {
    const { reports } = await runRanks('place', 1, {
      env: { ...env, RANK: '0', WORLD_SIZE: '2', OMPI_COMM_WORLD_SIZE: '2' },
    });
    expectError(reports[0], /rank 0 of 2, and its launcher has no channel by which MPI could be started.*mpirun/);
  });
}

if (!standIn)
  console.log('faults of ranks by NCCL: skipped, it takes the emulation, and gcc for what stands in for its library');
else {
  const nccl = async () => ({ ...standIn.env, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${await freePort()}` });
  const device = 'cuda-emulated/f32';

  faults('a rank that is never started is named by those that meet', async () => {
    const { reports } = await runProcesses('place', 4, {
      device,
      started: 3,
      env: { ...(await nccl()), BTS_COMMUNICATION_TIMEOUT: '8' },
    });
    for (const rank of [0, 1, 2]) expectError(reports[rank], /rank 3 did not come to port \d+ of rank 0 within 8 s/);
  });

  faults('ranks of whom one has no NCCL are told which', async () => {
    const envOf = (rank: number): Record<string, string> => (rank === 1 ? { LD_LIBRARY_PATH: '' } : {});
    const { reports } = await runProcesses('place', 2, { device, env: await nccl(), envOf });
    for (const report of reports) expectError(report, /^on rank 1 of 2: NCCL cannot be loaded/, 'ADDON_NOT_LOADED');
  });

  faults('a process of another job is refused, and so are strangers', async () => {
    const port = await freePort();
    const env = { ...standIn.env, MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}`, BTS_COMMUNICATION_TIMEOUT: '8' };
    const envOf = (rank: number) => ({ BTS_JOB_TOKEN: rank === 1 ? 'another' : 'this' });
    const running = runProcesses('place', 2, { device, env, envOf });
    const timer = setInterval(() => {
      const stranger = connect(port, '127.0.0.1').on('error', () => undefined);
      stranger.on('connect', () => stranger.write('GET / HTTP/1.1\r\n\r\n'));
    }, 200);
    const { reports } = await running;
    clearInterval(timer);
    expectError(reports[0], /rank 1 did not come/);
    expectError(reports[1], /refused this process: it belongs to another job/);
  });

  faults('a rank that is killed is named where values are gathered', async () => {
    const { reports } = await runProcesses('killedValue', 3, { device, env: await nccl() });
    for (const rank of [0, 2]) expectError(reports[rank], new RegExp(`^gather: on rank ${rank} of 3: rank 1 is gone`));
  });

  faults('a rank that is killed ends a call of the others', async () => {
    const env = { ...(await nccl()), BTS_STAND_IN_SECONDS: '2' };
    const { reports } = await runProcesses('killed', 2, { device, env });
    expectError(reports[0], /^all-reduce: on rank 0 of 2: ncclAllGather failed: remote process exited/);
  });
}

faults.run();
