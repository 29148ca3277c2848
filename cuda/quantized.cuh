// How numbers of quantized matrices are widened: to what they stand for, rounded to f32.
#pragma once

#include "../native/quantized.h"
#include "gpu.cuh"

namespace bts::cuda {

__device__ __forceinline__ float widened(const Int8Group& group, int64_t k) { return group.scale * group.codes[k]; }

__device__ __forceinline__ float widened(const Int4Group& group, int64_t k) {
  constexpr int64_t kHalf = Int4Group::kNumbers / 2;
  const int byte = group.codes[k % kHalf];
  return fmaf(group.scale, static_cast<float>(k < kHalf ? byte & 15 : byte >> 4), group.offset);
}

__device__ __forceinline__ bool in_groups(DType dtype) { return dtype == DType::Int8 || dtype == DType::Int4; }

// Calls f with the groups of a matrix that is quantized.
template <class F>
__device__ __forceinline__ void with_groups(const Weight& weight, F&& f) {
  if (weight.dtype == DType::Int8) f(static_cast<const Int8Group*>(weight.data));
  else f(static_cast<const Int4Group*>(weight.data));
}

}  // namespace bts::cuda
