import { type ModelConfig, windowOf } from '../../checkpoint/model-config.js';
import type { LayerRole, Role } from '../../checkpoint/names.js';
import type { Device } from '../../tensor/device.js';
import * as ops from '../../tensor/ops/index.js';
import type { Parameter } from '../../tensor/parameter.js';
import { recomputed } from '../../tensor/recompute.js';
import type { Scope } from '../../tensor/scope.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { KeyValueCache } from '../decoding/key-value-cache.js';
import type { Standing } from '../decoding/standing.js';
import type { Member } from './member.js';
import { RopeTables, ropeLimits } from './rope-tables.js';

/** Where the tokens of a batch stand. */
export interface Positions extends Partial<Standing<Tensor>> {
  batch: number;
  /** Tokens of each sequence in this call. */
  tokens: number;
  /** Comes with a `Standing`. */
  cache?: KeyValueCache | undefined;
}

type Layer = Partial<Record<LayerRole, Parameter[]>>;

/**
 * A Llama-family decoder over M members of one shape, run in lockstep: hidden states are [M, N, C] and every layer is one
 * grouped op. A dense model is the case M = 1.
 */
export class Transformer implements Disposable {
  readonly config: ModelConfig;
  private readonly layers: Layer[];
  private readonly ropeTables: RopeTables;

  /**
   * The members' configurations must agree in everything but RoPE. The members are disposed with it if it `owns` them. Limits
   * are given where those of others count, too: passes are told where tokens stand in tables that have a part for each.
   */
  constructor(
    readonly device: Device,
    readonly members: readonly Member[],
    private readonly owns = true,
    readonly limits: readonly number[] = ropeLimits(members.map(({ config }) => config)),
  ) {
    this.config = members[0]!.config;
    const configs = members.map(({ config }) => config);
    this.ropeTables = new RopeTables(device, configs, limits);
    this.layers = Array.from({ length: this.config.layers }, (_, index) => {
      const roles = Object.keys(members[0]!.layer(index)) as LayerRole[];
      return Object.fromEntries(roles.map((role) => [role, members.map((member) => member.layer(index)[role]!)]));
    });
  }

  /** The same over some of the members, which stay this one's to dispose. */
  select(members: readonly number[]): Transformer {
    const selected = members.map((m) => this.members[m]!);
    return new Transformer(this.device, selected, false, this.limits);
  }

  /** Hidden states [M, N, C] of token ids [N]. */
  embed(scope: Scope, ids: Tensor): Tensor {
    return ops.embedding(scope, this.shared('embedding'), ids, this.config.embedding.scale);
  }

  /** Hidden states after layer `index` (from 0), of as many leading members as `h` has. */
  layer(scope: Scope, index: number, h: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const afterAttention = this.attentionStep(inner, index, h, positions);
    return inner.leave(this.feedForwardStep(inner, index, afterAttention));
  }

  private attentionStep(scope: Scope, index: number, h: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const attended = recomputed(inner, h, (scope, h) => {
      using inner = scope.inner();
      const x = this.attentionNorm(inner, index, h);
      return inner.leave(this.attend(inner, index, x, positions));
    });
    return inner.leave(this.attentionOutput(inner, index, attended, h));
  }

  private feedForwardStep(scope: Scope, index: number, h: Tensor): Tensor {
    using inner = scope.inner();
    const activated = recomputed(inner, h, (scope, h, valued) => {
      using inner = scope.inner();
      return inner.leave(this.activation(inner, index, this.feedForwardNorm(inner, index, h), valued));
    });
    return inner.leave(this.feedForwardOutput(inner, index, activated, h));
  }

  /** What the attention of layer `index` reads. */
  attentionNorm(scope: Scope, index: number, h: Tensor): Tensor {
    return this.normalized(scope, h, this.leading(index, h.shape[0]!).attentionNorm);
  }

  /** What the feed-forward part of layer `index` reads. */
  feedForwardNorm(scope: Scope, index: number, h: Tensor): Tensor {
    return this.normalized(scope, h, this.leading(index, h.shape[0]!).feedForwardNorm);
  }

  /** h normalized, or h itself where there is no such norm. */
  private normalized(scope: Scope, h: Tensor, weight: Parameter[] | undefined): Tensor {
    return weight ? this.norm(scope, h, weight) : h;
  }

  private norm(scope: Scope, x: Tensor, weight: readonly Parameter[], residual?: Tensor): Tensor {
    return ops.rmsNorm(scope, x, weight, { ...this.config.norm, residual });
  }

  /** Logits [N, V] that a member gives to hidden states [1, N, C], or to the rows of them asked for. Without a gradient. */
  head(scope: Scope, h: Tensor, rows?: Tensor, index = 0): Tensor {
    using inner = scope.inner();
    const [, count = 0, width = 0] = h.shape;
    const hidden = rows ? ops.gatherRows(inner, inner.track(h.reshape(count, width)), rows) : h;
    const input = rows ? inner.track(hidden.reshape(1, rows.size, width)) : hidden;
    return inner.leave(this.cappedLogits(inner, input, index));
  }

  /** Losses [N] of hidden states [1, N, C] against targets [N], as member 0 judges them; 0 where a target is negative. */
  losses(scope: Scope, h: Tensor, targets: Tensor): Tensor {
    using inner = scope.inner();
    const { logitSoftcap } = this.members[0]!.config;
    return inner.leave(ops.crossEntropy(inner, this.cappedLogits(inner, h, 0), targets, logitSoftcap));
  }

  /** Logits of hidden states [1, N, C]. Where they are capped their gradient is still that of what they were before. */
  private cappedLogits(scope: Scope, h: Tensor, index: number): Tensor {
    using inner = scope.inner();
    const member = this.members[index]!;
    const { embedding, logitSoftcap, vocabularySize } = member.config;
    const normed = this.norm(inner, h, [member.shared('finalNorm')]);
    const logits = ops.linear(inner, normed, [member.shared(embedding.tied ? 'embedding' : 'head')]);
    if (logitSoftcap !== null) ops.softcapInPlace(inner, logits, logitSoftcap);
    return scope.track(logits.reshape(h.shape[1]!, vocabularySize));
  }

  /** The attention of layer `index` on normalized hidden states x [M, N, C], added to `residual`. */
  attention(scope: Scope, index: number, x: Tensor, positions: Positions, residual?: Tensor): Tensor {
    using inner = scope.inner();
    const attended = this.attend(inner, index, x, positions);
    return inner.leave(this.attentionOutput(inner, index, attended, residual));
  }

  /** What the heads of layer `index` gather of the values, [M, N, H D]. */
  private attend(scope: Scope, index: number, x: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const { batch, tokens, cache, starts, tableStarts = starts } = positions;
    const { heads, keyValueHeads, headWidth } = this.config.attention;
    const [members = 0, rows = 0] = x.shape;
    const layer = this.leading(index, members);
    const tables = this.ropeTables.upTo(cache?.capacity ?? tokens, index, cache !== undefined)?.slice(0, members);

    const project = (role: 'query' | 'key' | 'value', count: number) => {
      const y = ops.linear(inner, x, layer[role]!, { bias: layer[`${role}Bias`] });
      return inner.track(y.reshape(members, batch, tokens, count, headWidth));
    };
    // Over each head or over all of them: as many channels as the weight has.
    const normalized = (y: Tensor, weight: Parameter[] | undefined) => {
      if (!weight) return y;
      const width = weight[0]!.value.size;
      const flat = inner.track(y.reshape(members, y.size / members / width, width));
      return inner.track(this.norm(inner, flat, weight).reshape(...y.shape));
    };
    const rotated = (y: Tensor) => (tables ? ops.rope(inner, y, tables, tableStarts) : y);
    const q = rotated(normalized(project('query', heads), layer.queryNorm));
    let k = rotated(normalized(project('key', keyValueHeads), layer.keyNorm));
    let v = project('value', keyValueHeads);
    const pages = cache && inner.track(cache.table.slice(0, members));
    if (cache) {
      const { keys, values } = cache.layer(index);
      const append = (all: Tensor, x: Tensor) => {
        this.device.run('cache_append', { cache: all, pages, x, starts: starts! });
        return all;
      };
      [k, v] = [append(keys, k), append(values, v)];
    }
    const { scale, softcap } = this.config.attention;
    const attended = ops.attention(inner, q, k, v, {
      starts,
      pages,
      window: windowOf(this.config, index),
      scale,
      softcap,
    });
    return scope.track(attended.reshape(members, rows, heads * headWidth));
  }

  private attentionOutput(scope: Scope, index: number, attended: Tensor, residual?: Tensor): Tensor {
    const { output, outputBias } = this.leading(index, attended.shape[0]!);
    return this.added(scope, index, 'attention', residual, (scope, residual) =>
      ops.linear(scope, attended, output!, { bias: outputBias, residual }),
    );
  }

  /** The feed-forward part of layer `index` on normalized hidden states x [M, N, C], added to `residual`. */
  feedForward(scope: Scope, index: number, x: Tensor, residual?: Tensor): Tensor {
    using inner = scope.inner();
    return inner.leave(this.feedForwardOutput(inner, index, this.activation(inner, index, x), residual));
  }

  /** act(gate) * up of layer `index`, [M, N, F]. */
  private activation(scope: Scope, index: number, x: Tensor, valued = true): Tensor {
    const { gate, up, gateBias, upBias } = this.leading(index, x.shape[0]!);
    const { activation } = this.config.feedForward;
    return ops.swigluLinear(scope, x, { gate: gate!, up: up!, gateBias, upBias }, { activation, valued });
  }

  private feedForwardOutput(scope: Scope, index: number, activated: Tensor, residual?: Tensor): Tensor {
    const { down, downBias } = this.leading(index, activated.shape[0]!);
    return this.added(scope, index, 'feedForward', residual, (scope, residual) =>
      ops.linear(scope, activated, down!, { bias: downBias, residual }),
    );
  }

  /**
   * h and what a part of layer `index` gives, which is normalized first where the family does so. `compute` adds the residual
   * that it is given itself.
   */
  added(
    scope: Scope,
    index: number,
    part: 'attention' | 'feedForward',
    h: Tensor | undefined,
    compute: (scope: Scope, residual?: Tensor) => Tensor,
  ): Tensor {
    const weight = this.layers[index]![`${part}OutputNorm`];
    if (!weight) return compute(scope, h);
    using inner = scope.inner();
    const y = compute(inner);
    return inner.leave(this.norm(inner, y, weight.slice(0, y.shape[0]!), h));
  }

  private leading(index: number, members: number): Layer {
    const layer = this.layers[index]!;
    if (members === this.members.length) return layer;
    return Object.fromEntries(Object.entries(layer).map(([role, weights]) => [role, weights.slice(0, members)]));
  }

  private shared(role: Exclude<Role, LayerRole>): Parameter[] {
    return this.members.map((member) => member.shared(role));
  }

  [Symbol.dispose](): void {
    this.ropeTables[Symbol.dispose]();
    if (this.owns) for (const member of this.members) member[Symbol.dispose]();
  }
}
