// What becomes of a block's sums: the lanes of a quad, which hold two neighbouring columns of every tile, trade them for
// packs of eight, so that everything that follows a product reads and writes 16 bytes at a time.
#pragma once

#include "../vectors.cuh"
#include "pipeline.cuh"

namespace bts::cuda {

// Columns of a pack: a quad trades four tiles, or two where a warp has no more.
template <class S>
constexpr int kPack = S::kJ % 4 == 0 ? 8 : 4;

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

// Calls f(row, col, x) for all that a thread holds of kCount results: x[n] is a pack of result n whose first element is
// (row, col) of [kM, kN]. All lanes of a warp call this together; f is for one lane.
template <class S, int kCount, class F>
__device__ __forceinline__ void for_packs(const Sums<S>* sums, F&& f) {
  constexpr int kTiles = kPack<S> / 2;
  const int lane = threadIdx.x % kTiles, quarter = threadIdx.x % 4 / kTiles;
#pragma unroll
  for (int i = 0; i < S::kI; i++)
#pragma unroll
    for (int j = 0; j < S::kJ; j += kTiles)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float x[kCount][kPack<S>];
#pragma unroll
        for (int n = 0; n < kCount; n++)
#pragma unroll
          for (int c = 0; c < 2; c++) {
            float column[kTiles];
#pragma unroll
            for (int q = 0; q < kTiles; q++) column[q] = sums[n][i][j + q][half * 2 + c];
            transpose(column);
#pragma unroll
            for (int q = 0; q < kTiles; q++) x[n][q * 2 + c] = column[q];
          }
        f(S::row(i, half * 2), S::first_col() + (j + lane) * 8 + quarter * kPack<S>, x);
      }
}

// A pack in device memory: `count` of its elements exist, and it is read and written at once where it is `whole`.
template <int width, class T>
__device__ __forceinline__ void load_pack(float (&x)[width], const T* from, int count, bool whole) {
  if (whole) return load(x, from);
#pragma unroll
  for (int c = 0; c < width; c++) x[c] = c < count ? to_float(from[c]) : 0.0f;
}
template <int width, class T>
__device__ __forceinline__ void store_pack(T* to, const float (&x)[width], int count, bool whole) {
  if (whole) return store(to, x);
#pragma unroll
  for (int c = 0; c < width; c++)
    if (c < count) to[c] = from_float<T>(x[c]);
}
// The same for what is not read soon.
template <int width, class T>
__device__ __forceinline__ void stream_pack(T* to, const float (&x)[width], int count, bool whole) {
  if (!whole || sizeof(T) * width % sizeof(uint4) != 0) return store_pack(to, x, count, whole);
  Pack<T, width> pack;
#pragma unroll
  for (int c = 0; c < width; c++) pack.at[c] = from_float<T>(x[c]);
#pragma unroll
  for (size_t i = 0; i < sizeof pack / sizeof(uint4); i++) {
    uint4 piece;
    __builtin_memcpy(&piece, reinterpret_cast<const char*>(&pack) + i * sizeof piece, sizeof piece);
    store_streaming(reinterpret_cast<uint4*>(to) + i, piece);
  }
}

}  // namespace bts::cuda
