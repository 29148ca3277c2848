import * as ops from '../lib/tensor/ops/index.js';
import { expertsIntoHub, type StitchWeights } from '../lib/tensor/ops/index.js';
import { Parameter } from '../lib/tensor/parameter.js';
import { Scope } from '../lib/tensor/scope.js';
import { GradientNode, type Tensor } from '../lib/tensor/tensor.js';
import { type BenchOptions, hiddenStates, openDevice, printProfile, type Row, reportCeiling } from './bench.js';
import { peakResidentMiB, round, time } from './measure.js';
import { EXPERTS, SIZES } from './sizes.js';

/** One Experts-into-Hub layer alone, forward and backward, with gradients of the hidden states and of all weights. */
export async function benchStitch(options: BenchOptions): Promise<Row> {
  const { size, steps, profile } = options;
  using device = openDevice(options);
  const { width, batch, tokens } = SIZES[size];
  const rows = batch * tokens;
  const members = EXPERTS + 1;
  const normal = (shape: number[], deviation: number, seed: number) => {
    const y = device.empty(shape);
    device.run('fill_normal', { y, deviation, seed });
    return y;
  };
  const deviation = 1 / Math.sqrt(width);
  const weights: StitchWeights = {
    gate: Parameter.trainable(device, 'gate', normal([members, width, width], deviation, 1)),
    proj: Array.from({ length: EXPERTS }, (_, e) =>
      Parameter.trainable(device, `proj.${e}`, normal([width, width], deviation, 2 + e)),
    ),
  };
  using states = hiddenStates(device, [members, rows, width], 1, 9);
  device.profile();
  const forward = await time(async () => {
    using scope = Scope.inference(device);
    run(scope, states, weights);
    await device.synchronize();
  }, steps);
  const both = await time(async () => {
    using scope = Scope.recording(device);
    scope.backward(run(scope, scope.track(states.share().withNode(new GradientNode())), weights));
    await device.synchronize();
  }, steps);
  if (profile) printProfile(device, steps + 2);
  const flops = (2 * 3 * rows * (members + EXPERTS) * width * width) / both.median;
  return {
    forward_s: round(forward.median, 5),
    forward_backward_s: round(both.median, 5),
    gflops: Math.round(flops / 1e9),
    rss_mib: peakResidentMiB(),
    ...reportCeiling(device, await device.measurePeaks(), { flops }),
  };
}

function run(scope: Scope, h: Tensor, weights: StitchWeights): Tensor {
  const { h: out } = expertsIntoHub(scope, h, weights, { dropout: { rate: 0, seed: 0 }, experts: 'ended' });
  return ops.sum(scope, scope.track(out.reshape(out.size)), 1);
}
