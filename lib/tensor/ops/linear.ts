import type { Device } from '../device.js';
import { detached, needsGradient } from '../gradient.js';
import { linearProduct, type Maybe, nativeOps, product } from '../native-ops.js';
import {
  gradients,
  hasAdapters,
  isTrained,
  type LowRank,
  type Parameter,
  trained,
  trainedAdapters,
  values,
} from '../parameter.js';
import { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';

/** What adapters add to matrices: lists with holes where a member has none. */
interface LowRankArguments {
  down?: readonly Maybe<Tensor>[];
  up?: readonly Maybe<Tensor>[];
  scales?: Float64Array;
}

interface Calls {
  linear_forward: LowRankArguments & {
    y: Tensor;
    x: Tensor;
    weight: readonly Tensor[];
    bias: Maybe<readonly Tensor[]>;
    residual: Maybe<Tensor>;
    alone?: boolean;
  };
  linear_backward_input: LowRankArguments & { dx: Tensor; dy: Tensor; weight: readonly Tensor[]; accumulate: boolean };
  linear_backward_weight: { dweight: readonly Tensor[]; dbias: Maybe<readonly Tensor[]>; dy: Tensor; x: Tensor };
}

/** native/ops/linear.h */
export const linearOps = nativeOps<Calls>({
  linear_forward: ({ x, y, down }) => linearProduct(x, y) + lowRankProducts(x, y, down),
  linear_backward_input: ({ dx, dy, down }) => linearProduct(dx, dy) + lowRankProducts(dx, dy, down),
  linear_backward_weight: ({ x, dy }) => linearProduct(x, dy),
});

/** x [M, N, I] to y [M, N, O] by way of each adapter's rank. */
function lowRankProducts(x: Tensor, y: Tensor, down: readonly Maybe<Tensor>[] = []): number {
  const [, rows = 0, inputs = 0] = x.shape;
  const ranks = down.reduce((sum, each) => sum + (each?.shape[0] ?? 0), 0);
  return product(rows, ranks, inputs) + product(rows, ranks, y.shape[2]!);
}

/** What adapters add to the weights of one op, as native ops take it. */
function lowRank(weights: readonly Parameter[]): LowRankArguments {
  if (!hasAdapters(weights)) return {};
  return {
    down: weights.map(({ adapter }) => adapter?.down.value),
    up: weights.map(({ adapter }) => adapter?.up.value),
    scales: Float64Array.from(weights, ({ adapter }) => adapter?.scale ?? 1),
  };
}

export interface LinearOptions {
  bias?: readonly Parameter[] | undefined;
  /** [M, N, O], added to the result. */
  residual?: Tensor | undefined;
}

/**
 * y = x W^T (+ bias) (+ residual): [M, N, O] from x [M, N, I] and weights [O, I], which may have adapters. Members that share a
 * weight read it together.
 */
export function linear(scope: Scope, x: Tensor, weight: readonly Parameter[], options: LinearOptions = {}): Tensor {
  const { bias, residual } = options;
  const { device } = scope;
  const [members = 0, rows = 0] = x.shape;
  const isLearning = trained(weight) || trainedAdapters(weight);
  const y = scope.empty([members, rows, weight[0]!.value.shape[0]!], needsGradient(x, residual) || isLearning);
  device.run('linear_forward', {
    y,
    x,
    weight: values(weight),
    bias: bias && values(bias),
    ...lowRank(weight),
    residual,
    alone: scope.alone,
  });
  if (y.node) {
    // Frozen weights need no x again, so only its shape and node are kept.
    const saved = isLearning ? [x] : [];
    const ends = { x: detached(x), residual: residual && detached(residual) };
    scope.tape!.record(y, saved, (dy, [x], known) => {
      if (x && trained(weight)) {
        const dweight = gradients(weight);
        const dbias = bias && trained(bias) ? gradients(bias) : undefined;
        device.run('linear_backward_weight', { dweight, dbias, dy, x });
        known.added(...dweight, ...(dbias ?? []));
      }
      if (x) {
        for (const [m, { adapter }] of weight.entries()) {
          if (!adapter || !isTrained(adapter)) continue;
          addLowRankGradients(device, adapter, dy, x, m);
          known.added(adapter.down.gradient, adapter.up.gradient);
        }
      }
      known.add(ends.x, (dx, accumulate) => {
        device.run('linear_backward_input', { dx, dy, weight: values(weight), ...lowRank(weight), accumulate });
      });
      if (ends.residual) known.give(ends.residual, dy);
    });
  }
  return y;
}

/**
 * dA += s (dy B)^T x and dB += s dy^T (x A^T), of member m's adapter, whose rows are x [M, N, I] and dy [M, N, O]. What was in
 * the middle is computed again: it is small.
 */
function addLowRankGradients(device: Device, { down, up, scale }: LowRank, dy: Tensor, x: Tensor, m: number): void {
  const [, rows = 0] = x.shape;
  const [rank = 0] = down.value.shape;
  using scope = Scope.inference(device);
  const [ownX, ownDy] = [scope.track(x.slice(m)), scope.track(dy.slice(m))];
  const inner = scope.empty([1, rows, rank]);
  device.run('linear_forward', { y: inner, x: ownX, weight: [down.value], bias: undefined, residual: undefined });
  addProduct(device, up, scale, ownDy, inner);
  device.run('linear_backward_input', { dx: inner, dy: ownDy, weight: [up.value], accumulate: false });
  addProduct(device, down, scale, inner, ownX);
}

/** The gradient of a weight += scale * dy^T x. */
function addProduct(device: Device, { gradient }: Parameter, scale: number, dy: Tensor, x: Tensor): void {
  using product = device.full(gradient!.shape, 0);
  device.run('linear_backward_weight', { dweight: [product], dbias: undefined, dy, x });
  device.run('add_scaled', { y: gradient!, x: product, scale });
}
