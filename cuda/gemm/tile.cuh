// Tiles of matrices in shared memory, brought there by cp.async.
#pragma once

#include "mma.cuh"

namespace bts::cuda {

// A matrix in device memory: element (r, c) stands at data[r * stride + c].
template <class T>
struct Matrix {
  const T* data;
  int64_t stride;

  // Whether every row begins on 16 bytes.
  __host__ __device__ __forceinline__ bool aligned() const {
    return ((reinterpret_cast<uintptr_t>(data) | (stride * sizeof(T))) & 15) == 0;
  }
};

__host__ __device__ constexpr int ceil_div(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

// tile = the first `cols` elements of the rows at rows(r); zeros beyond, and where rows(r) is null. `anywhere` is an
// address that may be named where nothing is read. Rows that are not 16-byte aligned are copied by element. Arrival:
// cp_async_wait and a barrier.
template <class Tile, int kThreads, class Rows>
__device__ __forceinline__ void load_rows(typename Tile::Element* tile, const Rows& rows, int cols,
                                          const typename Tile::Element* anywhere, bool aligned) {
  using T = typename Tile::Element;
  constexpr int kPieces = Tile::kCols / kVector<T>;
  [[maybe_unused]] constexpr int kUnroll =
      kInRegisters<T> ? ceil_div(Tile::kRows * kPieces, kThreads) : 4;  // float is short of registers
#pragma unroll kUnroll
  for (int first = 0; first < Tile::kRows * kPieces; first += kThreads) {
    const int piece = first + threadIdx.x;
    if (Tile::kRows * kPieces % kThreads != 0 && piece >= Tile::kRows * kPieces) break;
    const int r = piece / kPieces, c = piece % kPieces * kVector<T>;
    const T* row = rows(r);
    const int left = row ? min(max(cols - c, 0), kVector<T>) : 0;
    const T* source = left > 0 ? row + c : anywhere;
    T* to = tile + Tile::at(r, c);
    if (aligned) {
      cp_async16(to, source, left * sizeof(T));
    } else {
      for (int i = 0; i < kVector<T>; i++) to[i] = i < left ? source[i] : T{};
    }
  }
}

// tile = from[row.., col..]; zeros where that lies outside of [rows, cols]. A thread copies the same piece of every
// kPass-th row: one address and one step take it through the tile. Rows that are not aligned are copied by element.
template <class Tile, int kThreads, bool kAligned, class T>
__device__ __forceinline__ void load_tile(T* tile, const Matrix<T>& from, int row, int rows, int col, int cols) {
  constexpr int kPieces = Tile::kCols / kVector<T>, kPass = kThreads / kPieces;
  [[maybe_unused]] constexpr int kUnroll = kAligned ? ceil_div(Tile::kRows, kPass) : 1;
  static_assert(kThreads % kPieces == 0);
  const int r = threadIdx.x / kPieces, c = threadIdx.x % kPieces * kVector<T>;
  const int left = min(max(cols - col - c, 0), kVector<T>), rows_left = rows - row - r;
  const T* source = from.data + int64_t{row + r} * from.stride + col + c;
  const int64_t step = kPass * from.stride;
#pragma unroll kUnroll
  for (int i = 0; i < Tile::kRows; i += kPass, source += step) {
    if (Tile::kRows % kPass != 0 && r + i >= Tile::kRows) break;
    T* const to = tile + Tile::at(r + i, c);
    if constexpr (kAligned) {
      cp_async16(to, source, i < rows_left ? left * sizeof(T) : 0);
    } else {
      for (int k = 0; k < kVector<T>; k++) to[k] = i < rows_left && k < left ? source[k] : T{};
    }
  }
}

// to[0] = first and, where there is a pair, to[1] = second: in one access where `to` is aligned for it.
__device__ __forceinline__ void store_pair(float* to, float first, float second, bool pair) {
  if (pair && reinterpret_cast<uintptr_t>(to) % 8 == 0) {
    *reinterpret_cast<float2*>(to) = make_float2(first, second);
  } else {
    to[0] = first;
    if (pair) to[1] = second;
  }
}
__device__ __forceinline__ void store_pair(bf16* to, float first, float second, bool pair) {
  if (pair && reinterpret_cast<uintptr_t>(to) % 4 == 0) {
    *reinterpret_cast<uint32_t*>(to) = pack_bf16(first, second);
  } else {
    to[0] = to_bf16(first);
    if (pair) to[1] = to_bf16(second);
  }
}

}  // namespace bts::cuda
