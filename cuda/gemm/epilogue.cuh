// What becomes of a block's sums: they pass through shared memory, from the 16 x 8 tiles of products to rows, so that
// everything that follows a product reads and writes 16 bytes at a time, in one short loop that stays in the instruction cache.
#pragma once

#include <algorithm>

#include "../members.cuh"
#include "../vectors.cuh"
#include "pipeline.cuh"

namespace bts::cuda {

// Columns of a pack of T where kCount results are finished together: 16 bytes, unless so many would not fit the registers.
template <int kCount, class T>
constexpr int kPack = std::min<int>(16 / sizeof(T), kCount > 8   ? 2
                                                    : kCount > 4 ? 4
                                                                 : 8);

// A pack as it was read. In whole words: of halves it would be put together, and waited for, where it is asked for.
template <class T, int width>
struct Fetched {
  static constexpr int kWords = sizeof(T) * width / 4;
  uint32_t words[kWords];

  // `count` elements exist, and are read at once where they are `whole`.
  __device__ __forceinline__ void fetch(const T* from, int count, bool whole) {
    if (whole) {
      const auto read = *reinterpret_cast<const Pack<uint32_t, kWords>*>(from);
#pragma unroll
      for (int i = 0; i < kWords; i++) words[i] = read.at[i];
      return;
    }
    Pack<T, width> pack;
#pragma unroll
    for (int i = 0; i < width; i++) pack.at[i] = i < count ? from[i] : T{};
    __builtin_memcpy(words, &pack, sizeof words);
  }
  __device__ __forceinline__ void widen(float (&x)[width]) const {
    Pack<T, width> pack;
    __builtin_memcpy(&pack, words, sizeof words);
#pragma unroll
    for (int i = 0; i < width; i++) x[i] = to_float(pack.at[i]);
  }
};

// Rows that pass at a time, and floats of each: tiles of 8 columns of all results, one result beside the other. The tiles of a
// row change places with the row's number, so that four rows of one tile, which a half warp writes at once, touch all banks.
struct Staging {
  static constexpr int kRows = 8, kTile = 8, kCols = 128, kSize = kRows * kCols;  // of a warp
  template <class S>
  static constexpr int kOfBlock = kSize * (S::kThreads / 32);

  static __device__ __forceinline__ int at(int row, int tile) { return row * kCols + (tile ^ row) * kTile; }
};

// Calls finish(row, col, x, fetch(row, col)) for all packs of kCount results: x[n] is a pack of result n whose first element is
// (row, col) of [kM, kN], as wide as one of T. What fetch() reads from device memory is under way before a result is written. All lanes of a warp
// call this together; fetch and finish are for one lane. staging: Staging::kOfBlock<S>.
template <class S, int kCount, class T, class Fetch, class Finish>
__device__ __forceinline__ void for_packs(const Sums<S>* sums, float* staging, Fetch&& fetch, Finish&& finish) {
  constexpr int kWidth = kPack<kCount, T>, kOfTile = Staging::kTile / kWidth;
  constexpr int kTiles = std::min(S::kJ, Staging::kCols / Staging::kTile / kCount);  // of each result at a time
  constexpr int kAcross = S::kJ / kTiles, kParts = S::kI * 2 * kAcross;
  constexpr int kAll = Staging::kRows * kTiles * kOfTile, kPieces = ceil_div(kAll, 32);  // of a warp, and of a lane
  using OfPiece = decltype(fetch(0, 0));
  constexpr int kAtOnce = std::clamp<int>(128 / sizeof(OfPiece), 1, kPieces);  // more would not fit the registers
  static_assert(S::kJ % kTiles == 0 && kPieces % kAtOnce == 0);
  const int lane = threadIdx.x % 32;
  float* const mine = staging + threadIdx.x / 32 * Staging::kSize;
#pragma unroll 1
  for (int part = 0; part < kParts; part++) {
    // Where piece p of this lane lies: among the rows that pass, and in the tile.
    const auto row_at = [&](int p) { return (p * 32 + lane) / (kTiles * kOfTile); };
    const auto col_at = [&](int p) { return (p * 32 + lane) % (kTiles * kOfTile) * kWidth; };
    const auto row = [&](int p) { return S::first_row() + part / kAcross * Staging::kRows + row_at(p); };
    const auto col = [&](int p) { return S::first_col() + part % kAcross * kTiles * Staging::kTile + col_at(p); };
    const auto exists = [&](int p) { return kAll % 32 == 0 || row_at(p) < Staging::kRows; };
    OfPiece fetched[kAtOnce];
    const auto fetch_from = [&](int first) {
#pragma unroll
      for (int p = 0; p < kAtOnce; p++)
        if (exists(first + p)) fetched[p] = fetch(row(first + p), col(first + p));
    };
    fetch_from(0);
    __syncwarp();
#pragma unroll
    for (int each = 0; each < kParts; each++) {  // registers have no run-time index
      if (each != part) continue;
#pragma unroll
      for (int n = 0; n < kCount; n++)
#pragma unroll
        for (int j = 0; j < kTiles; j++) {
          const float* const sum = &sums[n][each / kAcross / 2][each % kAcross * kTiles + j][each / kAcross % 2 * 2];
          *reinterpret_cast<float2*>(mine + Staging::at(lane / 4, n * kTiles + j) + lane % 4 * 2) =
              make_float2(sum[0], sum[1]);
        }
    }
    __syncwarp();
#pragma unroll 1
    for (int first = 0; first < kPieces; first += kAtOnce) {
      if (first > 0) fetch_from(first);
#pragma unroll
      for (int p = 0; p < kAtOnce; p++) {
        if (!exists(first + p)) continue;
        float x[kCount][kWidth];
        const int col_in_part = col_at(first + p);
#pragma unroll
        for (int n = 0; n < kCount; n++)
          load(x[n], mine + Staging::at(row_at(first + p), n * kTiles + col_in_part / Staging::kTile) +
                         col_in_part % Staging::kTile);
        finish(row(first + p), col(first + p), x, fetched[p]);
      }
    }
  }
}

// The same where nothing is read: finish(row, col, x).
template <class S, int kCount, class T, class Finish>
__device__ __forceinline__ void for_packs(const Sums<S>* sums, float* staging, Finish&& finish) {
  struct Nothing {};
  for_packs<S, kCount, T>(
      sums, staging, [](int, int) { return Nothing(); },
      [&](int row, int col, float (&x)[kCount][kPack<kCount, T>], Nothing) { finish(row, col, x); });
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

// x += the bias, if there is one, of columns col..col+count-1.
template <int width>
__device__ __forceinline__ void add_bias(float (&x)[width], const Weight& bias, int col, int count) {
  if (!bias.data) return;
  with_elements(bias, [&](auto* elements) {
#pragma unroll
    for (int i = 0; i < width; i++)
      if (i < count) x[i] += to_float(elements[col + i]);
  });
}

}  // namespace bts::cuda
