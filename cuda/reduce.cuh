// Sums and maxima over the threads of a warp or a block, in an order of their own: the same bits every time.
#pragma once

#include "gpu.cuh"

namespace bts::cuda {

constexpr unsigned kAllLanes = 0xffffffffu;

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(kAllLanes, x, bits);
  return x;
}

// The sum over a block of whole warps along x, the same in every thread. `shared` has room for one T of each warp.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* shared) {
  x = warp_sum(x);
  const unsigned warps = blockDim.x / 32;
  if (warps == 1) return x;
  __syncthreads();  // an earlier sum may still be read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
  T sum = 0;
  for (unsigned warp = 0; warp < warps; warp++) sum += shared[warp];
  return sum;
}

}  // namespace bts::cuda
