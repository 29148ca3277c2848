#pragma once

#include "gpu.cuh"

namespace bts::cuda {

// Calls f with the activation's formulas.
template <class F>
__device__ __forceinline__ auto with_activation(Activation activation, F&& f) {
  if (activation == Activation::Silu) return f(Silu<Math>());
  if (activation == Activation::GeluTanh) return f(GeluTanh<Math>());
  return f(Gelu<Math>());
}

__device__ __forceinline__ float activated(Activation activation, float x) {
  return with_activation(activation, [=](auto act) { return act.value(x); });
}

}  // namespace bts::cuda
