import type { Placement } from '../checkpoint/stitch-manifest.js';
import { DIRECTIONS } from '../model/stitches/directions/index.js';

/** A gate below the first or above the second hardly moves when its logit does. */
export const SATURATED = { low: 0.05, high: 0.95 } as const;
/** A member that no token takes more of, on average over channels, is never heard. */
export const UNHEARD = 0.01;

/** What the gates of one stitch were like on some tokens. */
export interface GateStatistics {
  /**
   * By member, mean over tokens and channels. Into the hub: how much of each member is in it, 1 in all. Into the experts: how
   * much of each is replaced by the hub; the hub's own is 0.
   */
  gates: number[];
  /**
   * Mean over tokens and channels, from 0 to 1. Into the hub: the entropy of the members' shares over ln M, 1 where all weigh the
   * same and 0 where one has all. Into the experts: of each gate and its rest, over ln 2, mean over experts.
   */
  entropy: number;
  /** By member the share of gates, over tokens and channels, below 0.05 and above 0.95; the hub's are 0 where it has no gate. */
  saturation: { low: number[]; high: number[] };
  /**
   * Members that never are heard: of which no token takes more than 1 %, mean over channels. Into the experts: those that are
   * replaced by the hub as thoroughly.
   */
  unheard: string[];
  /** Tokens that all of this is over. */
  tokens: number;
}

/** What one stitch does on the texts of one domain. */
export interface MeanGates extends GateStatistics {
  /** The domain's name. */
  domain: string;
  /** Where it stands, and which way it leads. */
  stitch: Placement;
}

/** The same where a model answers a benchmark: a task, or a group of them. */
export interface TaskGates extends GateStatistics {
  /** The benchmark's name. */
  task: string;
  /** Where it stands, and which way it leads. */
  stitch: Placement;
}

/** What they are of. */
export const subjectOf = (gates: MeanGates | TaskGates): string => ('domain' in gates ? gates.domain : gates.task);

/** What was added to sums, as plain JSON. */
export type GateState = {
  sums: number[];
  low: number[];
  high: number[];
  most: number[];
  entropy: number;
  tokens: number;
};

/** Sums over the gates of one stitch, channel by channel. */
export class GateSums {
  private readonly sums: Float64Array;
  private readonly low: Float64Array;
  private readonly high: Float64Array;
  /** By member the most that a token took of it. */
  private readonly most: Float64Array;
  private entropy = 0;
  /** That were added. */
  tokens = 0;

  constructor(
    readonly stitch: Placement,
    private readonly members: readonly string[],
  ) {
    const each = () => new Float64Array(members.length);
    [this.sums, this.low, this.high, this.most] = [each(), each(), each(), each()];
  }

  /** Adds a token's gates [M, G]. */
  add(gates: Float32Array): void {
    const M = this.members.length;
    const { firstGated } = DIRECTIONS[this.stitch.kind];
    const width = gates.length / M;
    let entropy = 0;
    for (let m = firstGated; m < M; m++) {
      let sum = 0;
      let low = 0;
      let high = 0;
      for (const gate of gates.subarray(m * width, (m + 1) * width)) {
        sum += gate;
        if (gate < SATURATED.low) low++;
        else if (gate > SATURATED.high) high++;
        entropy += firstGated === 0 ? surprise(gate) : surprise(gate) + surprise(1 - gate);
      }
      this.sums[m]! += sum / width;
      this.low[m]! += low / width;
      this.high[m]! += high / width;
      const taken = firstGated === 0 ? sum / width : 1 - sum / width;
      this.most[m] = Math.max(this.most[m]!, taken);
    }
    const most = firstGated === 0 ? Math.log(M) : Math.LN2 * (M - 1);
    if (most > 0) this.entropy += entropy / width / most;
    this.tokens++;
  }

  /** What was added so far, for `merge`. */
  state(): GateState {
    const { entropy, tokens } = this;
    const [sums, low, high, most] = [this.sums, this.low, this.high, this.most].map((each) => Array.from(each));
    return { sums: sums!, low: low!, high: high!, most: most!, entropy, tokens };
  }

  /** Adds what was added elsewhere. */
  merge(other: GateState): void {
    for (const [m, most] of other.most.entries()) {
      this.sums[m]! += other.sums[m]!;
      this.low[m]! += other.low[m]!;
      this.high[m]! += other.high[m]!;
      this.most[m] = Math.max(this.most[m]!, most);
    }
    this.entropy += other.entropy;
    this.tokens += other.tokens;
  }

  result(): GateStatistics {
    const { tokens, most } = this;
    const mean = (sums: Float64Array) => Array.from(sums, (sum) => sum / tokens);
    const { firstGated } = DIRECTIONS[this.stitch.kind];
    return {
      gates: mean(this.sums),
      entropy: this.entropy / tokens,
      saturation: { low: mean(this.low), high: mean(this.high) },
      unheard: this.members.filter((_, m) => m >= firstGated && most[m]! <= UNHEARD),
      tokens,
    };
  }
}

/** A share's part of an entropy, in nats. */
const surprise = (share: number) => (share > 0 ? -share * Math.log(share) : 0);
