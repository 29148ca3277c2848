import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BtsError } from '../lib/base/errors.js';
import { parseOptions } from '../lib/base/options-check.js';
import { stitchedCost } from '../lib/model/cost/cost.js';
import { PAPER_CONFIG, PAPER_MEMBERS, PAPER_STITCHES } from '../lib/model/cost/paper.js';
import { stitchOptions, stitchShape } from '../lib/model/stitches/options.js';
import { renderTable } from '../lib/terminal/table.js';
import type { BenchOptions, Row } from './bench.js';
import { round } from './measure.js';
import type { Measured } from './ranks/measured.js';
import { allReduceSeconds, type Cluster, clusterSeconds, efficiency, fitLink, sent } from './ranks/network.js';

/** By TCP, so that what is sent passes an interface that counts it. */
const MPIRUN = ['--allow-run-as-root', '--oversubscribe', '--bind-to', 'none', '--mca', 'btl', 'tcp,self'];
const LOOPBACK = ['--mca', 'btl_tcp_if_include', 'lo', '--mca', 'pml', 'ob1'];

/**
 * GPUs as they are sold eight to a machine. NVLink 4: 450 GB/s each way, of which NCCL reaches four fifths; one adapter of 400 Gbit/s for
 * all eight, of which it reaches nine tenths; latencies of a message as NCCL's authors count with.
 */
const GPUS: Cluster = {
  perMachine: 8,
  within: { latency: 3e-6, bandwidth: 0.8 * 450e9 },
  between: { latency: 15e-6, bandwidth: (0.9 * 400e9) / 8 },
};
/** What a GPU computes a second, of the operations that a step needs: the faster it is, the more sums count. */
const GPU_FLOPS = 400e12;
const BUCKET_BYTES = 25 * 2 ** 20;

/** Bytes and seconds of data parallel steps on one and more ranks here, and what the model that explains them says of many GPUs. */
export function benchRanks(options: BenchOptions & { ranks: number }): Row {
  const { ranks } = options;
  const one = measure(1, options);
  const many = measure(ranks, options);
  const gradients = 4 * many.parameters;
  const link = fitLink(many.sums, ranks);
  // The queue of a device does one thing at a time: sums come beside no work.
  const predicted = one.seconds + allReduceSeconds(gradients, ranks, link);
  const table = [
    ['gradients summed a step, MB', gradients / 1e6, many.bytesGiven / 1e6],
    ['sent by each rank a step, MB', sent(gradients, ranks) / 1e6, many.bytesSent / 1e6],
    [`step on ${ranks} ranks, s`, predicted, many.seconds],
  ] as const;
  console.log(
    renderTable(table, [
      { title: `${many.parameters} parameters on ${ranks} ranks`, value: ([what]) => what },
      { title: 'predicted', value: ([, value]) => value, digits: 4 },
      { title: 'here', value: ([, , value]) => value, digits: 4 },
    ]),
  );
  console.log(
    `on one rank ${one.seconds.toFixed(4)} s; the link here: ${(1e6 * link.latency).toFixed(0)} us, ${(link.bandwidth / 1e9).toFixed(2)} GB/s\n`,
  );
  return {
    ranks,
    one_s: round(one.seconds, 4),
    step_s: round(many.seconds, 4),
    predicted_s: round(predicted, 4),
    given_mb: round(many.bytesGiven / 1e6, 3),
    sent_mb: round(many.bytesSent / 1e6, 3),
    sent_predicted_mb: round(sent(gradients, ranks) / 1e6, 3),
    ...onGpus(),
  };
}

function measure(ranks: number, options: BenchOptions): Measured {
  const folder = mkdtempSync(join(tmpdir(), 'bts-bench-ranks-'));
  try {
    const file = join(folder, 'measured.json');
    const main = fileURLToPath(new URL('ranks/rank.ts', import.meta.url));
    // One thread for each, so that several have as much for each as one.
    const text = JSON.stringify({ ...options, threads: 1 });
    const node = [process.execPath, '--import', 'tsx', main, text, file];
    const { status, stderr, error } = spawnSync('mpirun', [...MPIRUN, ...LOOPBACK, '-n', `${ranks}`, ...node]);
    if (error) throw new BtsError('COMMUNICATION', `mpirun cannot be started: ${error.message}.`);
    if (status !== 0) throw new BtsError('COMMUNICATION', `mpirun ended with ${status}: ${stderr}`);
    return JSON.parse(readFileSync(file, 'utf8'));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The paper's stitches on GPUs, 16,384 tokens each a step: the part of the time that is left for computing. */
function onGpus(): Row {
  const size = { batch: 8, tokens: 2048 };
  const members = Array.from({ length: PAPER_MEMBERS }, () => PAPER_CONFIG);
  const shape = stitchShape(parseOptions(stitchOptions, { stitches: PAPER_STITCHES }), PAPER_CONFIG.layers);
  const cost = stitchedCost({ members, ...shape }, size);
  const compute = (size.batch * size.tokens * cost.trainingFlops) / GPU_FLOPS;
  const gradients = 4 * cost.trainedParameters;
  const row: Row = {};
  const points = [8, 64, 512].map((gpus) => {
    const buckets = Math.ceil(gradients / BUCKET_BYTES);
    const sums = buckets * clusterSeconds(gradients / buckets, gpus, GPUS);
    row[`efficiency_${gpus}`] = round(efficiency(compute, sums, 0), 4);
    return { gpus, sums, apart: efficiency(compute, sums, 0), beside: efficiency(compute, sums, 1) };
  });
  console.log(
    renderTable(points, [
      { title: 'GPUs', value: ({ gpus }) => gpus },
      { title: 'compute s', value: () => compute, digits: 3 },
      { title: 'sums s', value: ({ sums }) => sums, digits: 4 },
      { title: 'weak scaling', value: ({ apart }) => apart, digits: 3 },
      { title: 'with sums beside the backward', value: ({ beside }) => beside, digits: 3 },
    ]),
  );
  return row;
}
