// Registers that neighbouring lanes trade.
#pragma once

#include "gpu.cuh"

namespace bts::cuda {

// x[r] = x[r ^ lane]: an exchange that undoes itself, without a run-time index into registers.
template <class T, int n>
__device__ __forceinline__ void rotate_by_lane(T (&x)[n]) {
  const auto swap_if = [](bool swap, T& a, T& b) {
    const T first = swap ? b : a, second = swap ? a : b;
    a = first;
    b = second;
  };
#pragma unroll
  for (int bit = 1; bit < n; bit *= 2)
#pragma unroll
    for (int r = 0; r < n; r++)
      if (!(r & bit)) swap_if(threadIdx.x & bit, x[r], x[r | bit]);
}

// x[q] of lane t of n neighbours becomes x[t] of lane q.
template <class T, int n>
__device__ __forceinline__ void transpose(T (&x)[n]) {
  rotate_by_lane(x);
#pragma unroll
  for (int r = 1; r < n; r++) x[r] = __shfl_xor_sync(0xffffffffu, x[r], r);
  rotate_by_lane(x);
}

}  // namespace bts::cuda
