/**
 * Ops on tensors, each with its gradient. Shapes are those of native/ops.h: M members, N rows, C width, O outputs,
 * H query heads, K key/value heads, D head width, T tokens, S cache slots, V vocabulary. Weights come as one parameter
 * for each member.
 */
import type { Activation } from '../addon.js';
import { gradients, type Parameter, trained, values } from './parameter.js';
import type { Scope } from './scope.js';
import { GradientNode, type Tensor } from './tensor.js';

const needsGradient = (...inputs: (Tensor | undefined)[]) => inputs.some((input) => input?.node);

/** Rows of the embedding tables times `scale`, rounded as activations are: [M, N, C], for ids [N]. */
export function embedding(scope: Scope, table: readonly Parameter[], ids: Tensor, scale = 1): Tensor {
  const y = scope.empty([table.length, ids.size, table[0]!.value.shape[1]!], trained(table));
  scope.device.run('embedding_forward', { y: y.native, table: values(table), ids: ids.native, scale });
  if (y.node) {
    scope.tape!.record(y, [ids], (dy, [ids]) => {
      scope.device.run('embedding_backward', { dtable: gradients(table), dy: dy.native, ids: ids!.native, scale });
    });
  }
  return y;
}

export interface LinearOptions {
  bias?: readonly Parameter[] | undefined;
  /** [M, N, O], added to the result. */
  residual?: Tensor | undefined;
}

/** y = x W^T (+ bias) (+ residual): [M, N, O] from x [M, N, I] and weights [O, I]. */
export function linear(scope: Scope, x: Tensor, weight: readonly Parameter[], options: LinearOptions = {}): Tensor {
  const { bias, residual } = options;
  const { device } = scope;
  const [members = 0, rows = 0] = x.shape;
  const y = scope.empty([members, rows, weight[0]!.value.shape[0]!], needsGradient(x, residual) || trained(weight));
  device.run('linear_forward', {
    y: y.native,
    x: x.native,
    weight: values(weight),
    bias: bias && values(bias),
    residual: residual?.native,
  });
  if (y.node) {
    // Frozen weights need no x again, so only its shape and node are kept.
    const saved = trained(weight) ? [x] : [];
    const ends = { x: detached(x), residual: residual && detached(residual) };
    scope.tape!.record(y, saved, (dy, [x], known) => {
      if (x) {
        const dbias = bias && trained(bias) ? gradients(bias) : undefined;
        device.run('linear_backward_weight', { dweight: gradients(weight), dbias, dy: dy.native, x: x.native });
      }
      known.add(ends.x, (dx, accumulate) => {
        device.run('linear_backward_input', { dx: dx.native, dy: dy.native, weight: values(weight), accumulate });
      });
      if (ends.residual) known.give(ends.residual, dy);
    });
  }
  return y;
}

/** x's shape and place in the gradient, without a claim on its memory. */
const detached = (x: Tensor) => x.withNode(x.node);

export interface RmsNormOptions {
  epsilon: number;
  /** Added to the weights; default 0. */
  offset?: number;
  /** [M, N, C], added to the result. */
  residual?: Tensor | undefined;
}

/** y = x / sqrt(mean(x^2) + epsilon) * (offset + w) (+ residual) over the last dimension: [M, N, C]. */
export function rmsNorm(scope: Scope, x: Tensor, weight: readonly Parameter[], options: RmsNormOptions): Tensor {
  const { device } = scope;
  const { epsilon, offset = 0, residual } = options;
  const y = scope.empty(x.shape, needsGradient(x, residual) || trained(weight));
  const common = { weight: values(weight), epsilon, offset };
  device.run('rms_norm_forward', { y: y.native, x: x.native, residual: residual?.native, ...common });
  if (y.node) {
    const end = residual && detached(residual);
    scope.tape!.record(y, [x], (dy, [x], known) => {
      const inputs = { dy: dy.native, x: x!.native };
      if (trained(weight)) device.run('rms_norm_backward_weight', { dweight: gradients(weight), epsilon, ...inputs });
      known.add(x!, (dx, accumulate) => {
        device.run('rms_norm_backward_input', { dx: dx.native, accumulate, ...inputs, ...common });
      });
      if (end) known.give(end, dy);
    });
  }
  return y;
}

/**
 * Rotary position embedding of x [M, B, T, H, D] with one table [P, R] for each member, of the first R channels. Token t of sequence b stands at
 * position starts[b] + t (0 + t without `starts`).
 */
export function rope(scope: Scope, x: Tensor, table: readonly Tensor[], starts?: Tensor): Tensor {
  const { device } = scope;
  const y = scope.empty(x.shape, needsGradient(x));
  const common = { table: table.map((member) => member.native), starts: starts?.native };
  device.run('rope', { y: y.native, x: x.native, inverse: false, ...common });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, starts ? [starts] : [], (dy, _, known) => {
      device.run('rope', { y: dy.native, x: dy.native, inverse: true, ...common });
      known.give(end, dy);
    });
  }
  return y;
}

export interface AttentionOptions {
  /** Where each sequence's queries start, [B] integers; absent: at zero. */
  starts?: Tensor | undefined;
  /** Keys a query sees at most; null, the default: all before it. */
  window?: number | null;
  /** Of scores; default 1 / sqrt(D). */
  scale?: number;
  /** Scores s become c tanh(s / c); null, the default: they stay as they are. */
  softcap?: number | null;
}

/** Causal attention: [M, B, T, H, D] from q of that shape and k, v [M, B, S, K, D]. */
export function attention(scope: Scope, q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { device } = scope;
  const [members, batch, tokens, heads, width] = q.shape as [number, number, number, number, number];
  const { starts, scale = 1 / Math.sqrt(width) } = options;
  const common = { window: options.window ?? 0, scale, softcap: options.softcap ?? 0 };
  const out = scope.empty(q.shape, needsGradient(q, k, v));
  using inner = scope.inner();
  const lse = out.node && inner.empty([members, batch, heads, tokens], false, 'f32');
  device.run('attention_forward', {
    out: out.native,
    lse: lse?.native,
    q: q.native,
    k: k.native,
    v: v.native,
    starts: starts?.native,
    ...common,
  });
  if (lse) {
    scope.tape!.record(out, [out, lse, q, k, v], (dout, saved, known) => {
      const [out, lse, q, k, v] = saved as [Tensor, Tensor, Tensor, Tensor, Tensor];
      using dq = device.empty(q.shape, q.dtype);
      using dk = device.empty(k.shape, k.dtype);
      using dv = device.empty(v.shape, v.dtype);
      device.run('attention_backward', {
        dq: dq.native,
        dk: dk.native,
        dv: dv.native,
        dout: dout.native,
        out: out.native,
        lse: lse.native,
        q: q.native,
        k: k.native,
        v: v.native,
        ...common,
      });
      known.give(q, dq);
      known.give(k, dk);
      known.give(v, dv);
    });
  }
  return out;
}

export interface SwigluOptions {
  /** Default `silu`. */
  activation?: Activation;
  /** Nobody else needs gate and up: their gradients take their place. */
  consume?: boolean;
  /** Whether the result itself is needed, and not only its gradient. */
  valued?: boolean;
}

/** activation(gate) * up, elementwise. */
export function swiglu(scope: Scope, gate: Tensor, up: Tensor, options: SwigluOptions = {}): Tensor {
  const { device } = scope;
  const { activation = 'silu', consume = false, valued = true } = options;
  const differentiable = needsGradient(gate, up);
  const y = valued ? scope.empty(gate.shape, differentiable) : scope.track(gate.share().withNode(new GradientNode()));
  if (valued) device.run('swiglu_forward', { y: y.native, gate: gate.native, up: up.native, activation });
  if (y.node) {
    scope.tape!.record(y, [gate, up], (dy, saved, known) => {
      const [gate, up] = saved as [Tensor, Tensor];
      using dgate = consume ? gate.share() : device.empty(gate.shape, gate.dtype);
      using dup = consume ? up.share() : device.empty(up.shape, up.dtype);
      device.run('swiglu_backward', {
        dgate: dgate.native,
        dup: dup.native,
        dy: dy.native,
        gate: gate.native,
        up: up.native,
        activation,
      });
      known.give(gate, dgate);
      known.give(up, dup);
    });
  }
  return y;
}

export interface GatedWeights {
  gate: readonly Parameter[];
  up: readonly Parameter[];
  gateBias?: readonly Parameter[] | undefined;
  upBias?: readonly Parameter[] | undefined;
}

/**
 * activation(x Wg^T) * (x Wu^T), biases added: [M, N, F] from x [M, N, C] and weights [F, C]. In one op where no gradient is
 * wanted, so that the two products are never in memory. `valued` as in swiglu.
 */
export function swigluLinear(
  scope: Scope,
  x: Tensor,
  weights: GatedWeights,
  { activation = 'silu', valued = true }: Pick<SwigluOptions, 'activation' | 'valued'> = {},
): Tensor {
  const { gate, up, gateBias, upBias } = weights;
  const all = [gate, up, gateBias ?? [], upBias ?? []];
  if (scope.tape && (needsGradient(x) || all.some(trained))) {
    using inner = scope.inner();
    const gated = linear(inner, x, gate, { bias: gateBias });
    return inner.leave(
      swiglu(inner, gated, linear(inner, x, up, { bias: upBias }), { activation, consume: true, valued }),
    );
  }
  const [members = 0, rows = 0] = x.shape;
  const y = scope.empty([members, rows, gate[0]!.value.shape[0]!]);
  scope.device.run('swiglu_linear', {
    y: y.native,
    x: x.native,
    gate: values(gate),
    up: values(up),
    gateBias: gateBias && values(gateBias),
    upBias: upBias && values(upBias),
    activation,
  });
  return y;
}

/** c tanh(x / c) in the place of x, whose gradient stays what it was: see crossEntropy. */
export function softcapInPlace(scope: Scope, x: Tensor, cap: number): void {
  scope.device.run('softcap', { y: x.native, x: x.native, cap });
}

/**
 * Losses [N] of logits [N, V] against targets [N], 0 where a target is negative. The backward overwrites the logits. Where they
 * were capped in place at `softcap`, it is the gradient of what they were before.
 */
export function crossEntropy(scope: Scope, logits: Tensor, targets: Tensor, softcap: number | null = null): Tensor {
  const { device } = scope;
  const losses = scope.empty([targets.size], needsGradient(logits), 'f32');
  device.run('cross_entropy_forward', { losses: losses.native, logits: logits.native, targets: targets.native });
  if (losses.node) {
    scope.tape!.record(losses, [logits, targets], (dlosses, saved, known) => {
      const [logits, targets] = saved as [Tensor, Tensor];
      device.run('cross_entropy_backward', {
        dlogits: logits.native,
        dlosses: dlosses.native,
        logits: logits.native,
        targets: targets.native,
        softcap: softcap ?? 0,
      });
      known.give(logits, logits);
    });
  }
  return losses;
}

/** scale * sum of x [N], a tensor of one element. */
export function sum(scope: Scope, x: Tensor, scale: number): Tensor {
  const { device } = scope;
  const y = scope.empty([1], needsGradient(x), 'f32');
  device.run('sum_forward', { y: y.native, x: x.native, scale });
  if (y.node) {
    const end = detached(x);
    scope.tape!.record(y, [], (dy, _, known) => {
      using dx = device.empty(end.shape, end.dtype);
      device.run('sum_backward', { dx: dx.native, dy: dy.native, scale });
      known.give(end, dx);
    });
  }
  return y;
}

/** Rows of x [N, C] by index [R]: [R, C]. Without a gradient: for inference. */
export function gatherRows(scope: Scope, x: Tensor, rows: Tensor): Tensor {
  const y = scope.empty([rows.size, x.shape[1]!]);
  scope.device.run('gather_rows', { y: y.native, x: x.native, rows: rows.native });
  return y;
}
