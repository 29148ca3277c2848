#pragma once

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// Calls f with the activation's formulas.
template <class F>
HOST_DEVICE auto with_activation(Activation activation, F&& f) {
  if (activation == Activation::Silu) return f(Silu<ActMath>());
  if (activation == Activation::GeluTanh) return f(GeluTanh<ActMath>());
  return f(Gelu<ActMath>());
}

__device__ __forceinline__ float activated(Activation activation, float x) {
  return with_activation(activation, [=](auto act) { return act.value(x); });
}

}  // namespace bts::cuda::BTS_PRECISION
