// What gates a feed-forward layer, see native/activation.h.
#pragma once

#include "gpu.cuh"

namespace bts::cuda {

__device__ __forceinline__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
__device__ __forceinline__ float normal(float x) { return 0.5f * erfcf(-kInverseRoot2 * x); }
__device__ __forceinline__ float gelu_tanh_sigmoid(float x) {
  return 1 / (1 + expf(x * (kGeluLinear + kGeluCubic * x * x)));
}

__device__ __forceinline__ float activated(Activation act, float x) {
  if (act == Activation::Silu) return x / (1 + expf(-x));
  if (act == Activation::GeluTanh) return x * gelu_tanh_sigmoid(x);
  return x * normal(x);
}

// The derivative.
__device__ __forceinline__ float activated_slope(Activation act, float x) {
  if (act == Activation::Silu) {
    const float s = sigmoid(x);
    return s * (1 + x * (1 - s));
  }
  if (act == Activation::GeluTanh) {
    const float s = gelu_tanh_sigmoid(x);
    return s * (1 - x * (1 - s) * (kGeluLinear + 3 * kGeluCubic * x * x));
  }
  return normal(x) + x * kNormalPeak * expf(-0.5f * x * x);
}

}  // namespace bts::cuda
