import { needsGradient } from '../gradient.js';
import { linearProduct, type Maybe, nativeOps } from '../native-ops.js';
import { hasAdapters, type Parameter, trained, values } from '../parameter.js';
import type { Scope } from '../scope.js';
import type { Tensor } from '../tensor.js';
import { linear } from './linear.js';
import { type Activation, type SwigluOptions, swiglu } from './swiglu.js';

interface Calls {
  swiglu_linear: {
    y: Tensor;
    x: Tensor;
    gate: readonly Tensor[];
    up: readonly Tensor[];
    gateBias: Maybe<readonly Tensor[]>;
    upBias: Maybe<readonly Tensor[]>;
    activation: Activation;
    alone?: boolean;
  };
}

/** native/ops/swiglu_linear.h */
export const swigluLinearOps = nativeOps<Calls>({
  swiglu_linear: ({ x, y }) => 2 * linearProduct(x, y),
});

export interface GatedWeights {
  gate: readonly Parameter[];
  up: readonly Parameter[];
  gateBias?: readonly Parameter[] | undefined;
  upBias?: readonly Parameter[] | undefined;
}

/**
 * activation(x Wg^T) * (x Wu^T), biases added: [M, N, F] from x [M, N, C] and weights [F, C]. In one op where no gradient
 * is wanted and no adapter adds to the weights, so that the two products are never in memory. `valued` as in swiglu.
 */
export function swigluLinear(
  scope: Scope,
  x: Tensor,
  weights: GatedWeights,
  { activation = 'silu', valued = true }: Pick<SwigluOptions, 'activation' | 'valued'> = {},
): Tensor {
  const { gate, up, gateBias, upBias } = weights;
  const all = [gate, up, gateBias ?? [], upBias ?? []];
  const recorded = scope.tape && (needsGradient(x) || all.some(trained));
  if (recorded || hasAdapters(gate) || hasAdapters(up)) {
    using inner = scope.inner();
    const gated = linear(inner, x, gate, { bias: gateBias });
    return inner.leave(
      swiglu(inner, gated, linear(inner, x, up, { bias: upBias }), { activation, consume: true, valued }),
    );
  }
  const [members = 0, rows = 0] = x.shape;
  const y = scope.empty([members, rows, gate[0]!.value.shape[0]!]);
  scope.device.run('swiglu_linear', {
    y,
    x,
    gate: values(gate),
    up: values(up),
    gateBias: gateBias && values(gateBias),
    upBias: upBias && values(upBias),
    activation,
    alone: scope.alone,
  });
  return y;
}
