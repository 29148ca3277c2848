import type { ModelConfig } from '../checkpoint/config.js';
import type { LayerRole, Role } from '../checkpoint/names.js';
import type { Device } from '../tensor/device.js';
import * as ops from '../tensor/ops/index.js';
import type { Parameter } from '../tensor/parameter.js';
import { recomputed } from '../tensor/recompute.js';
import type { Scope } from '../tensor/scope.js';
import type { Tensor } from '../tensor/tensor.js';
import type { KeyValueCache } from './key-value-cache.js';
import type { Member } from './member.js';
import { RopeTables } from './rope-tables.js';

/** Where the tokens of a batch stand. */
export interface Positions {
  batch: number;
  /** Tokens of each sequence in this call. */
  tokens: number;
  cache?: KeyValueCache | undefined;
  /** With a cache: how many tokens each sequence has in it, [B]. */
  starts?: Tensor | undefined;
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

  /** The members' configurations must agree in everything but RoPE. The members are disposed with it if it `owns` them. */
  constructor(
    readonly device: Device,
    readonly members: readonly Member[],
    private readonly owns = true,
  ) {
    this.config = members[0]!.config;
    const configs = members.map(({ config }) => config);
    this.ropeTables = new RopeTables(device, configs);
    this.layers = Array.from({ length: this.config.layers }, (_, index) => {
      const roles = Object.keys(members[0]!.layer(index)) as LayerRole[];
      return Object.fromEntries(roles.map((role) => [role, members.map((member) => member.layer(index)[role]!)]));
    });
  }

  get disposed(): boolean {
    return this.members[0]!.shared('embedding').value.disposed;
  }

  /** The same over some of the members, which stay this one's to dispose. */
  select(members: readonly number[]): Transformer {
    const selected = members.map((m) => this.members[m]!);
    return new Transformer(this.device, selected, false);
  }

  /** Hidden states [M, N, C] of token ids [N]. */
  embed(scope: Scope, ids: Tensor): Tensor {
    return ops.embedding(scope, this.shared('embedding'), ids);
  }

  /** Hidden states after layer `index` (from 0), of as many leading members as `h` has. */
  layer(scope: Scope, index: number, h: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const afterAttention = this.attentionStep(inner, index, h, positions);
    return inner.leave(this.feedForwardStep(inner, index, afterAttention));
  }

  private attentionStep(scope: Scope, index: number, h: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const mixed = recomputed(inner, h, (scope, h) => {
      using inner = scope.inner();
      const x = this.attentionNorm(inner, index, h);
      return inner.leave(this.mixTokens(inner, index, x, positions));
    });
    return inner.leave(this.attentionOutput(inner, index, mixed, h));
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
    return ops.rmsNorm(scope, h, this.leading(index, h.shape[0]!).attentionNorm!, this.config.normEpsilon);
  }

  /** What the feed-forward part of layer `index` reads. */
  feedForwardNorm(scope: Scope, index: number, h: Tensor): Tensor {
    return ops.rmsNorm(scope, h, this.leading(index, h.shape[0]!).feedForwardNorm!, this.config.normEpsilon);
  }

  /** Logits [N, V] that a member gives to hidden states [1, N, C], or to the rows of them asked for. */
  head(scope: Scope, h: Tensor, rows?: Tensor, index = 0): Tensor {
    using inner = scope.inner();
    const [, count = 0, width = 0] = h.shape;
    const hidden = rows ? ops.gatherRows(inner, inner.track(h.reshape(count, width)), rows) : h;
    const member = this.members[index]!;
    const input = rows ? inner.track(hidden.reshape(1, rows.size, width)) : hidden;
    const normed = ops.rmsNorm(inner, input, [member.shared('finalNorm')], this.config.normEpsilon);
    const head = member.config.tiedEmbeddings ? 'embedding' : 'head';
    const logits = ops.linear(inner, normed, [member.shared(head)]);
    return scope.track(logits.reshape(input.shape[1]!, this.config.vocabularySize));
  }

  /** The attention of layer `index` on normalized hidden states x [M, N, C], added to `residual`. */
  attention(scope: Scope, index: number, x: Tensor, positions: Positions, residual?: Tensor): Tensor {
    using inner = scope.inner();
    const mixed = this.mixTokens(inner, index, x, positions);
    return inner.leave(this.attentionOutput(inner, index, mixed, residual));
  }

  /** Values mixed by the attention of layer `index`, [M, N, H D]. */
  private mixTokens(scope: Scope, index: number, x: Tensor, positions: Positions): Tensor {
    using inner = scope.inner();
    const { batch, tokens, cache, starts } = positions;
    const { heads, keyValueHeads, headWidth, normEpsilon } = this.config;
    const [members = 0, rows = 0] = x.shape;
    const layer = this.leading(index, members);
    const reach = cache ? cache.capacity : tokens;
    const tables = this.ropeTables.upTo(reach).slice(0, members);

    const project = (role: 'query' | 'key' | 'value', count: number) => {
      const y = ops.linear(inner, x, layer[role]!, { bias: layer[`${role}Bias`] });
      return inner.track(y.reshape(members, batch, tokens, count, headWidth));
    };
    const normalised = (y: Tensor, norm: Parameter[] | undefined) => {
      if (!norm) return y;
      const flat = inner.track(y.reshape(members, y.size / members / headWidth, headWidth));
      return inner.track(ops.rmsNorm(inner, flat, norm, normEpsilon).reshape(...y.shape));
    };
    const q = ops.rope(inner, normalised(project('query', heads), layer.queryNorm), tables, starts);
    let k = ops.rope(inner, normalised(project('key', keyValueHeads), layer.keyNorm), tables, starts);
    let v = project('value', keyValueHeads);
    if (cache) {
      const { keys, values } = cache.layer(index);
      const append = (all: Tensor, x: Tensor) => {
        const held = inner.track(all.slice(0, members));
        this.device.run('cache_append', { cache: held, x, starts: starts! });
        return held;
      };
      [k, v] = [append(keys, k), append(values, v)];
    }
    const mixed = ops.attention(inner, q, k, v, { starts, window: this.config.slidingWindow ?? 0 });
    return scope.track(mixed.reshape(members, rows, heads * headWidth));
  }

  private attentionOutput(scope: Scope, index: number, mixed: Tensor, residual?: Tensor): Tensor {
    const layer = this.leading(index, mixed.shape[0]!);
    return ops.linear(scope, mixed, layer.output!, { bias: layer.outputBias, residual });
  }

  /** The feed-forward part of layer `index` on normalized hidden states x [M, N, C], added to `residual`. */
  feedForward(scope: Scope, index: number, x: Tensor, residual?: Tensor): Tensor {
    using inner = scope.inner();
    return inner.leave(this.feedForwardOutput(inner, index, this.activation(inner, index, x), residual));
  }

  /** silu(gate) * up of layer `index`, [M, N, F]. */
  private activation(scope: Scope, index: number, x: Tensor, valued = true): Tensor {
    const { gate, up, gateBias, upBias } = this.leading(index, x.shape[0]!);
    return ops.swigluLinear(scope, x, { gate: gate!, up: up!, gateBias, upBias }, { valued });
  }

  private feedForwardOutput(scope: Scope, index: number, activated: Tensor, residual?: Tensor): Tensor {
    const layer = this.leading(index, activated.shape[0]!);
    return ops.linear(scope, activated, layer.down!, { bias: layer.downBias, residual });
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
