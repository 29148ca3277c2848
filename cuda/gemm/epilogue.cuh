// What becomes of a block's sums: the lanes of a quad, which hold two neighbouring columns each, trade them for rows of
// eight, so that everything that follows a product reads and writes 16 bytes at a time.
#pragma once

#include "../vectors.cuh"
#include "pipeline.cuh"

namespace bts::cuda {

// x[r] = x[r ^ lane of the quad]: an exchange that undoes itself, without a run-time index into registers.
template <class T>
__device__ __forceinline__ void rotate_by_lane(T (&x)[4]) {
  const auto swap_if = [](bool swap, T& a, T& b) {
    const T first = swap ? b : a, second = swap ? a : b;
    a = first;
    b = second;
  };
  swap_if(threadIdx.x & 1, x[0], x[1]);
  swap_if(threadIdx.x & 1, x[2], x[3]);
  swap_if(threadIdx.x & 2, x[0], x[2]);
  swap_if(threadIdx.x & 2, x[1], x[3]);
}

// x[q] of lane t of a quad becomes x[t] of lane q.
__device__ __forceinline__ void transpose_quad(float (&x)[4]) {
  rotate_by_lane(x);
#pragma unroll
  for (int r = 1; r < 4; r++) x[r] = __shfl_xor_sync(0xffffffffu, x[r], r);
  rotate_by_lane(x);
}

// Calls f(row, col, x) for all that a thread holds of kCount results: x[n] are columns col..col+7 of result n, within
// [kM, kN]. All lanes of a warp call this together; f is for one lane.
template <class S, int kCount, class F>
__device__ __forceinline__ void for_packs(const float (*sums)[S::kI][S::kJ][4], F&& f) {
  static_assert(S::kJ % 4 == 0, "a quad trades four tiles");
  const int lane = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < S::kI; i++)
#pragma unroll
    for (int j = 0; j < S::kJ; j += 4)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float x[kCount][kWide];
#pragma unroll
        for (int n = 0; n < kCount; n++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            float column[4];
#pragma unroll
            for (int q = 0; q < 4; q++) column[q] = sums[n][i][j + q][half * 2 + c];
            transpose_quad(column);
#pragma unroll
            for (int q = 0; q < 4; q++) x[n][q * 2 + c] = column[q];
          }
        f(S::row(i, half * 2), S::first_col() + (j + lane) * 8, x);
      }
}

// A row's pack in device memory: `count` of its elements exist, and it is read and written at once where it is `whole`.
template <class T>
__device__ __forceinline__ void load_pack(float (&x)[kWide], const T* from, int count, bool whole) {
  if (whole) return load(x, from);
#pragma unroll
  for (int c = 0; c < kWide; c++) x[c] = c < count ? to_float(from[c]) : 0.0f;
}
template <class T>
__device__ __forceinline__ void store_pack(T* to, const float (&x)[kWide], int count, bool whole) {
  if (whole) return store(to, x);
#pragma unroll
  for (int c = 0; c < kWide; c++)
    if (c < count) to[c] = from_float<T>(x[c]);
}

}  // namespace bts::cuda
