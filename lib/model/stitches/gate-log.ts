import { z } from 'zod';
import { checkOptions } from '../../base/options-check.js';
import { flag, fraction } from '../../base/schema.js';
import type { Placement } from '../../checkpoint/stitch-manifest.js';
import type { Communicator } from '../../tensor/communicator.js';
import type { Device } from '../../tensor/device.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';

/** How gates are told: always their means over channels. */
export const gateRecordOptions = {
  /**
   * Also these quantiles over channels, each from 0 to 1. All channels' gates are then read from the device, S * M * C floats
   * a token, where means take S * M.
   */
  quantiles: z.array(fraction(), 'expected a list of numbers').readonly().optional(),
  /** Also the gates of all channels, read as they are for quantiles; default false. */
  channels: flag().optional(),
};
/** What is told of gates beside their means over channels. */
export type GateRecordOptions = z.input<z.ZodObject<typeof gateRecordOptions>>;

/** Throws BAD_OPTION for a quantile that is none. */
export const checkGateRecordOptions = (where: string, options: GateRecordOptions): GateRecordOptions =>
  checkOptions(where, gateRecordOptions, options, {});

/** What one stitch gave the members at one token. */
export interface StitchGates {
  /** Where it stands, and which way it leads. */
  placement: Placement;
  /**
   * By member, mean over channels. Into the hub: how much of each member is in it, 1 in all. Into the experts: how much of each
   * is replaced by the hub; the hub has no gate there, and 0.
   */
  mean: readonly number[];
  /** By member the quantiles that were asked for. */
  quantiles?: readonly (readonly number[])[];
  /** Where they were asked for, of all channels, [M, G]. */
  channels?: Float32Array;
}

/** What all stitches gave the members at one token. */
export interface TokenGates {
  /** The hub first; of a sparse model those that its router picked. */
  members: readonly string[];
  /** From below. */
  stitches: readonly StitchGates[];
}

/** What a model's gates are: who is weighed, where, by how many numbers. */
export interface GateLayout {
  members: readonly string[];
  plan: readonly Placement[];
  /** G */
  gateWidth: number;
}

/** Takes the gates of the rows of one pass from its stitches, so that one read tells them all. */
export class GateLog implements Disposable {
  /** [S, N * M] sums over channels; [S, N * M * G] where all channels are read. */
  private readonly values: Tensor;
  /** Numbers that are kept for each member of a row: G or 1. */
  private readonly width: number;
  /** [1, G], where sums are kept. */
  private readonly ones: Tensor | undefined;

  constructor(
    device: Device,
    private readonly layout: GateLayout,
    private readonly rows: number,
    private readonly options: GateRecordOptions,
    /** Of the ranks that have the other gates, where this has not all. */
    private readonly communicator?: Communicator,
  ) {
    const { members, plan, gateWidth } = layout;
    this.width = options.quantiles || options.channels ? gateWidth : 1;
    this.values = device.empty([plan.length, rows * members.length * this.width], device.activations);
    if (communicator) device.run('fill', { y: this.values, value: 0 });
    this.ones = this.width < gateWidth ? device.full([1, gateWidth], 1) : undefined;
  }

  /** Queues that the gates [N, M, G] of stitch `s` are kept. */
  take(scope: Scope, s: number, gates: Tensor): void {
    const { gateWidth } = this.layout;
    const rows = gates.size / gateWidth;
    using inner = scope.inner();
    const x = inner.track(gates.reshape(1, rows, gateWidth));
    const y = inner.track(inner.track(this.values.slice(s)).reshape(1, rows, this.width));
    // All backends are quick at products: a sum is one with ones.
    if (this.ones)
      scope.device.run('linear_forward', {
        y,
        x,
        weight: [this.ones],
        bias: undefined,
        residual: undefined,
        alone: scope.alone,
      });
    else scope.device.run('convert', { y, x });
  }

  /** By row. */
  async read(): Promise<TokenGates[]> {
    const { members, plan, gateWidth } = this.layout;
    const { quantiles, channels: isWhole } = this.options;
    // What is not this rank's is zero here.
    this.communicator?.allReduce([this.values]);
    const values = await this.values.read();
    const ofRow = (s: number, n: number): Float32Array => {
      const size = members.length * this.width;
      return values.subarray((s * this.rows + n) * size, (s * this.rows + n + 1) * size);
    };
    return Array.from({ length: this.rows }, (_, n) => ({
      members,
      stitches: plan.map((placement, s) => {
        const row = ofRow(s, n);
        const channels = members.map((_, m) => row.subarray(m * this.width, (m + 1) * this.width));
        return {
          placement,
          mean: channels.map((own) => own.reduce((sum, gate) => sum + gate, 0) / gateWidth),
          ...(quantiles && { quantiles: channels.map((own) => quantilesOf(own, quantiles)) }),
          ...(isWhole && { channels: row }),
        };
      }),
    }));
  }

  [Symbol.dispose](): void {
    this.values.dispose();
    this.ones?.dispose();
  }
}

/** Quantiles between the two nearest values, as NumPy's default has them. */
function quantilesOf(values: Float32Array, quantiles: readonly number[]): number[] {
  const sorted = values.toSorted();
  return quantiles.map((quantile) => {
    const at = quantile * (sorted.length - 1);
    const low = Math.floor(at);
    const [below = 0, above = below] = sorted.subarray(low, low + 2);
    return below + (at - low) * (above - below);
  });
}

/** What a cache tells of the gates at the tokens that were appended last. */
export class CacheGates {
  private reading: Promise<TokenGates[]> = Promise.resolve([]);

  constructor(
    /** What was asked for. */
    readonly options: GateRecordOptions,
  ) {}

  /** By row of the last call: of sequence b of B the rows b * T to (b + 1) * T - 1, with T tokens each. */
  get latest(): Promise<TokenGates[]> {
    return this.reading;
  }

  /** @internal Reads what a pass that is queued leaves in its log. */
  follow(reading: Promise<TokenGates[]>): void {
    reading.catch(() => {}); // told to those who ask
    this.reading = reading;
  }
}
