import type { Batch } from '../lib/data/packing.js';
import type { StitchedModel } from '../lib/model/stitched-model.js';
import { countFlops } from '../lib/tensor/flops.js';
import { Scope } from '../lib/tensor/scope.js';
import { AdamW } from '../lib/train/adamw.js';
import { type BenchOptions, openDevice, printProfile, type Row, reportCeiling } from './bench.js';
import { peakResidentMiB, resetPeakResident, round, time } from './measure.js';
import { SIZES } from './sizes.js';
import { costOf, openStitched, randomBatch, rankOf, type Shape } from './stitched.js';
import { verifyGradients } from './verify.js';

/** One training step of the stitches: forward, backward, clipping, AdamW. */
export async function benchStep(options: BenchOptions): Promise<Row> {
  return await measureStep(SIZES[options.size], options);
}

export async function measureStep(shape: Shape, options: BenchOptions): Promise<Row> {
  const { dtype, steps, profile, recompute, verify } = options;
  using device = openDevice(options);
  if (verify) await verifyGradients(device, shape, dtype, { recompute });
  using model = await openStitched(device, shape, dtype, rankOf(options));
  const batch = randomBatch(shape);
  using optimizer = new AdamW(device, model.trainable);
  const executed = await countFlops(device, () => step(model, optimizer, batch, recompute));
  device.trim();
  device.memory({ resetPeak: true });
  resetPeakResident();
  device.profile();
  const timing = await time(() => step(model, optimizer, batch, recompute), steps);
  if (profile) printProfile(device, steps + 2);
  const rows = shape.batch * shape.tokens;
  const resident = peakResidentMiB();
  const needed = rows * costOf(model, shape, dtype).trainingFlops;
  // Of the ceiling counts what is executed: layers that are computed again are work, too.
  const ceiling = reportCeiling(device, await device.measurePeaks(), { flops: executed / timing.median });
  return {
    step_s: round(timing.median, 4),
    fastest_s: round(timing.fastest, 4),
    slowest_s: round(timing.slowest, 4),
    tok_s: round(rows / timing.median, 1),
    gflops: Math.round(needed / timing.median / 1e9),
    executed_gflops: Math.round(executed / timing.median / 1e9),
    ...ceiling,
    tensor_peak_mib: Math.round(device.memory().peakBytes / 2 ** 20),
    rss_mib: resident,
  };
}

async function step(model: StitchedModel, optimizer: AdamW, batch: Batch, recompute: boolean): Promise<void> {
  optimizer.zeroGradients();
  using scope = Scope.recording(model.device, { keep: recompute ? 0 : Number.POSITIVE_INFINITY });
  const loss = model.trainingLoss(scope, batch, batch.targets.length, 0);
  const read = loss.item();
  scope.backward(loss);
  using norm = optimizer.gradientNorm();
  optimizer.update(norm, 1e-4);
  await read;
  await norm.item();
  await model.device.synchronize();
}
