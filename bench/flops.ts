import { MixtureModel } from '../lib/model/baselines/mixture-model.js';
import { PAPER_SEGMENT, paperFlops } from '../lib/model/cost/paper.js';
import { segmentFlops } from '../lib/model/cost/system-cost.js';
import type { DecoderModel } from '../lib/model/decoder-model.js';
import { DenseModel } from '../lib/model/dense-model.js';
import { StitchedModel } from '../lib/model/stitched-model.js';
import type { Device } from '../lib/tensor/device.js';
import { countFlops } from '../lib/tensor/flops.js';
import { Scope } from '../lib/tensor/scope.js';
import type { Tensor } from '../lib/tensor/tensor.js';
import { renderTable } from '../lib/terminal/table.js';
import { whole } from '../lib/terminal/units.js';
import { openNaive } from '../test/support/naive-bf16.js';
import { type BenchOptions, openDevice, type Row } from './bench.js';
import { round, time } from './measure.js';
import { randomModels } from './models.js';
import { configOf, EXPERTS, SIZES } from './sizes.js';
import { randomBatch } from './stitched.js';
import { distance, expectClose, isF32, openTruth } from './verify.js';

const { layers } = PAPER_SEGMENT;
const SYSTEMS = ['bts', 'bam'] as const;
type Segment = (typeof SYSTEMS)[number];
const TITLES = { bts: `${layers} layers and a stitch of BTS`, bam: `${layers} layers of BAM` };
/** Of hidden states in f32: what sums in another order may differ by. */
const TOLERANCE = 1e-4;
/** Tokens that are computed to see whether the result is right. */
const VERIFIED = 64;

interface Result {
  system: Segment;
  seconds: number;
  /** Operations per token. */
  paper: number;
  executed: number;
  /** Operations per second. */
  paperRate: number;
  executedRate: number;
}

/**
 * The paper's 'FLOPs per five layers' (Tables 11 and 12), measured: five layers of hub and three experts with a stitch behind
 * them, and five layers of BAM, in inference, beside both ways to count their operations.
 */
export async function benchFlops(options: BenchOptions): Promise<Row> {
  const { size, dtype, steps } = options;
  const shape = { ...SIZES[size], layers };
  const { batch, tokens, width } = shape;
  using device = openDevice(options);
  const [hub, ...experts] = (await randomModels(shape, dtype, EXPERTS + 1)) as [string, ...string[]];
  const { inputs } = randomBatch(shape);

  const config = configOf(shape, dtype === 'bf16' ? 'BF16' : 'F32');
  const members = [hub, ...experts].map(() => config);
  const choices = { gate: 'channel', gateBias: false, expertsAfterMerge: 'projected' } as const;
  const executed = segmentFlops({ members, plan: [...PLAN], ...choices }, { layers, tokens });
  // Table 6's own feed-forward width where that is meant; see PAPER_CONFIG.
  const feedForwardWidth = width === PAPER_SEGMENT.width ? PAPER_SEGMENT.feedForwardWidth : shape.feedForwardWidth;
  const paper = paperFlops({ width, feedForwardWidth, context: tokens, members: members.length, layers });

  const results: Result[] = [];
  for (const system of SYSTEMS) {
    await verifyEqualMembers(device, system, hub, inputs.subarray(0, Math.min(tokens, VERIFIED)));
    using model = await openSegment(device, system, hub, experts);
    const forward = async () => {
      using scope = Scope.inference(device);
      hiddenStatesOf(scope, model, inputs, batch);
      await device.synchronize();
    };
    const counted = await countFlops(device, forward);
    if (counted !== inputs.length * executed[system].total) {
      throw new Error(
        `${system}: ${counted} operations came, ${inputs.length} times ${executed[system].total} expected`,
      );
    }
    const { median } = await time(forward, steps);
    const rate = (flops: number) => (inputs.length * flops) / median;
    results.push({
      ...{ system, seconds: median, paper: paper[system].total, executed: executed[system].total },
      ...{ paperRate: rate(paper[system].total), executedRate: rate(executed[system].total) },
    });
  }
  console.log(`${inputs.length} tokens in sequences of ${tokens}\n${table(results)}`);
  return Object.fromEntries(results.flatMap(fields));
}

const PLAN = [{ afterLayer: layers, kind: 'experts_into_hub' }] as const;

async function openSegment(
  device: Device,
  system: Segment,
  hub: string,
  folders: readonly string[],
): Promise<DecoderModel> {
  const experts = Object.fromEntries(folders.map((folder, i) => [`expert${i + 1}`, folder]));
  return system === 'bts'
    ? await StitchedModel.create(device, { hub, experts, plan: PLAN })
    : await MixtureModel.create(device, 'bam', { hub, experts });
}

/** All layers, without the head. */
function hiddenStatesOf(scope: Scope, model: DecoderModel, inputs: Int32Array, batch: number): Tensor {
  const ids = scope.track(model.device.tensor(inputs, [inputs.length]));
  return model.hidden(scope, ids, { batch, tokens: inputs.length / batch });
}

async function runLayers(model: DecoderModel, inputs: Int32Array): Promise<Float32Array> {
  using scope = Scope.inference(model.device);
  return await hiddenStatesOf(scope, model, inputs, 1).read();
}

/**
 * Throws unless members that are all the same give what one of them gives alone, however they are weighed: of bf16 as far as
 * a naive computation in it does.
 */
async function verifyEqualMembers(device: Device, system: Segment, hub: string, inputs: Int32Array) {
  const alone = async (device: Device) => {
    using dense = await DenseModel.load(device, hub);
    return await runLayers(dense, inputs);
  };
  const together = async (device: Device) => {
    using model = await openSegment(device, system, hub, new Array<string>(EXPERTS).fill(hub));
    return await runLayers(model, inputs);
  };
  const got = await together(device);
  if (isF32(device)) {
    const off = distance(got, await alone(device));
    if (!(off <= TOLERANCE)) throw new Error(`${system}: equal members differ from one of them by ${off}`);
    return;
  }
  using cpu = openTruth();
  using rounding = openNaive(device);
  const truth = await alone(cpu);
  expectClose(`${system}: what equal members give`, distance(got, truth), distance(await together(rounding), truth));
}

function table(results: readonly Result[]): string {
  return renderTable(results, [
    { title: 'forward', value: ({ system }) => TITLES[system] },
    { title: 'seconds', value: ({ seconds }) => seconds, digits: 4 },
    { title: 'operations a token as the paper counts', value: ({ paper }) => whole(paper) },
    { title: 'executed', value: ({ executed }) => whole(executed) },
    { title: 'GFLOP/s as the paper counts', value: ({ paperRate }) => paperRate / 1e9, digits: 1 },
    { title: 'GFLOP/s executed', value: ({ executedRate }) => executedRate / 1e9, digits: 1 },
  ]);
}

const fields = ({ system, seconds, paper, executed, paperRate, executedRate }: Result) =>
  [
    [`${system}_s`, round(seconds, 5)],
    [`${system}_paper_flops`, paper],
    [`${system}_executed_flops`, executed],
    [`${system}_paper_gflops`, round(paperRate / 1e9, 1)],
    [`${system}_executed_gflops`, round(executedRate / 1e9, 1)],
  ] as const;
