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

// Shows `x`, which is the same in all lanes of a warp, to the other warps. A barrier stands before and behind it.
template <class T>
__device__ __forceinline__ void share_of_warp(T x, T* shared) {
  __syncthreads();  // what was shared before may still be read
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
  __syncthreads();
}

// The sum over a block of whole warps along x, the same in every thread. `shared` has room for one T of each warp.
template <class T>
__device__ __forceinline__ T block_sum(T x, T* shared) {
  x = warp_sum(x);
  const unsigned warps = blockDim.x / 32;
  if (warps == 1) return x;
  share_of_warp(x, shared);
  T sum = 0;
  for (unsigned warp = 0; warp < warps; warp++) sum += shared[warp];
  return sum;
}

// The largest over such a block, in every thread.
template <class T>
__device__ __forceinline__ T block_max(T x, T* shared) {
  for (int bits = 16; bits > 0; bits /= 2) x = max(x, __shfl_xor_sync(kAllLanes, x, bits));
  share_of_warp(x, shared);
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) x = max(x, shared[warp]);
  return x;
}

}  // namespace bts::cuda
