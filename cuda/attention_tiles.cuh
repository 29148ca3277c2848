// What forward and backward of attention share: who sees whom, and tiles of rows.
//
// The query heads of one key/value head are rows of one matrix: row r of R = T * group is token r / group and head
// r % group of the group. So keys and values are read once for the whole group, and decoding a single token still gives
// the tensor cores `group` rows to multiply.
#pragma once

#include "cuda_ops.h"
#include "gemm/tile.cuh"
#include "reduce.cuh"
#include "vectors.cuh"

namespace bts::cuda {

struct Attend {
  const int32_t* starts;  // [B] or null
  int B, T, S, H, K, D, group, window;
  float scale, softcap;

  static Attend of(const AttentionSize& a, const int32_t* starts) {
    return {starts,
            static_cast<int>(a.B),
            static_cast<int>(a.T),
            static_cast<int>(a.S),
            static_cast<int>(a.H),
            static_cast<int>(a.K),
            static_cast<int>(a.D),
            static_cast<int>(a.H / a.K),
            static_cast<int>(a.window),
            a.scale,
            a.softcap};
  }

  __device__ __forceinline__ int rows() const { return T * group; }
  __device__ __forceinline__ int start(int sequence) const { return starts ? starts[sequence % B] : 0; }
  // The query at `position` sees first_key(position) .. position.
  __device__ __forceinline__ int first_key(int position) const {
    return window > 0 ? max(0, position - window + 1) : 0;
  }
  __device__ __forceinline__ bool sees(int position, int key) const {
    return key <= position && key >= first_key(position);
  }
  // The score of a product of a query and a key.
  __device__ __forceinline__ float score(float product) const {
    const float plain = product * scale;
    return softcap > 0 ? capped<Math>(plain, softcap) : plain;
  }
  // What a score grows by with its product.
  __device__ __forceinline__ float slope(float score) const {
    return softcap > 0 ? scale * capped_slope(score, softcap) : scale;
  }
  // Where row r of (sequence, key/value head) begins in q, out and their gradients, and stands in lse.
  __device__ __forceinline__ int64_t query(int sequence, int head, int r) const {
    return ((int64_t{sequence} * T + r / group) * H + head * group + r % group) * D;
  }
  __device__ __forceinline__ int64_t statistic(int sequence, int head, int r) const {
    return (int64_t{sequence} * H + head * group + r % group) * T + r / group;
  }
  // Where a key begins in k, v and their gradients.
  __device__ __forceinline__ int64_t key(int sequence, int head, int j) const {
    return ((int64_t{sequence} * S + j) * K + head) * D;
  }
};

// Which page of a pool holds slot j of a sequence (native/ops/pages.h). One that is missing means nothing, but is read.
struct PageTable {
  const int32_t* table;  // [M,B,P]
  int P;

  explicit PageTable(const Pages& pages) : table(pages.table), P(static_cast<int>(pages.P)) {}
  __device__ __forceinline__ int page(int sequence, int j) const {
    const int at = j / static_cast<int>(kPageTokens);
    return at < P ? max(0, table[int64_t{sequence} * P + at]) : 0;
  }
};

// Head widths up to 64, 128 and 256 have kernels of their own. The widest take smaller tiles: all must fit the 99 KiB of
// shared memory that every GPU has for a block.
constexpr int kWidest = 256;

template <class F>
void with_head_width(int64_t D, F&& f) {
  if (D <= 64) f(std::integral_constant<int, 64>());
  else if (D <= 128) f(std::integral_constant<int, 128>());
  else f(std::integral_constant<int, kWidest>());
}

// Rows in shared memory. Float, whose operands are read element by element, has no registers for the addresses of a swizzle:
// its rows are one piece longer than their contents.
template <class T, int Rows, int Cols>
struct Padded {
  using Element = T;
  static constexpr int kRows = Rows, kCols = Cols, kStride = Cols + kVector<T>, kSize = Rows * kStride;
  __host__ __device__ __forceinline__ static constexpr unsigned at(unsigned row, unsigned col) {
    return row * kStride + col;
  }
};
template <class T, int kRows, int kCols>
using RowTile = std::conditional_t<kInRegisters<T>, Swizzled<T, kRows, kCols>, Padded<T, kRows, kCols>>;

// Tiles of the forward: rows of queries that a block keeps, 16 for each warp, and keys and values of one step, in two stages.
template <class T, int kWidth>
struct ForwardTiles {
  static constexpr int kWarps = (sizeof(T) == 2 ? 8 : 4) / (kWidth == kWidest ? 2 : 1);
  static constexpr int kRows = kWarps * 16, kThreads = kWarps * 32;
  static constexpr int kKeys = (sizeof(T) == 2 ? 64 : 32) / (kWidth == kWidest ? 2 : 1);
  using Queries = RowTile<T, kRows, kWidth>;
  using Keys = RowTile<T, kKeys, kWidth>;
  static constexpr bool kQueriesInRegisters = sizeof(T) == 2 && kWidth < kWidest;
  static constexpr size_t kSharedBytes = (Queries::kSize + 2 * 2 * Keys::kSize) * sizeof(T);
};

// Tiles of the backward: rows (or keys) that a block owns, and those that pass by, in two stages.
template <class T, int kWidth>
struct BackwardTiles {
  static constexpr int kWarps = (sizeof(T) == 2 ? 4 : 2) / (kWidth == kWidest ? 2 : 1);
  static constexpr int kOwn = kWarps * 16, kThreads = kWarps * 32;
  static constexpr int kPass = sizeof(T) == 2 && kWidth < kWidest ? 32 : 16;
  using Own = RowTile<T, kOwn, kWidth>;
  using Pass = RowTile<T, kPass, kWidth>;
  static constexpr size_t kQueriesShared = (2 * Own::kSize + 2 * 2 * Pass::kSize) * sizeof(T);
  static constexpr size_t kKeysShared = kQueriesShared + 2 * 2 * kPass * sizeof(float);
};

// What the backward asks of each row of queries first, delta: the sum over d of dout out. Some lanes share a row of [.., D]
// and have the sum each.
constexpr int kLanesOfRow = 8, kRowsOfBlock = 256 / kLanesOfRow;

template <int kPack, class T>
__device__ __forceinline__ float delta_of(const T* dout, const T* out, int64_t row, int D) {
  float sum = 0;
  for (int d = threadIdx.x % kLanesOfRow * kPack; d < D; d += kLanesOfRow * kPack) {
    float x[kPack], y[kPack];
    load(x, dout + row * D + d);
    load(y, out + row * D + d);
#pragma unroll
    for (int i = 0; i < kPack; i++) sum = fmaf(x[i], y[i], sum);
  }
#pragma unroll
  for (int bits = kLanesOfRow / 2; bits > 0; bits /= 2) sum += __shfl_xor_sync(kAllLanes, sum, bits);
  return sum;
}

template <class T>
__device__ __forceinline__ bool rows_aligned(const T* data, int D) {
  return ((reinterpret_cast<uintptr_t>(data) | (D * sizeof(T))) & 15) == 0;
}

// tile = rows r0.. of a query-shaped array; zeros past the last row and past D.
template <class Tile, int kThreads, class T>
__device__ __forceinline__ void load_queries(T* tile, const T* from, const Attend& a, int sequence, int head, int r0) {
  load_rows<Tile, kThreads>(
      tile, [&](int r) -> const T* { return r0 + r < a.rows() ? from + a.query(sequence, head, r0 + r) : nullptr; },
      a.D, from, rows_aligned(from, a.D));
}

// The same for keys j0.. of a key-shaped array, or of a pool whose pages the table tells, with zeros outside of first..end-1:
// slots of a cache that nobody has written may hold NaN, which a weight of zero would not silence.
template <class Tile, int kThreads, class T>
__device__ __forceinline__ void load_keys(T* tile, const T* from, const Attend& a, int sequence, int head, int j0,
                                          int first, int end) {
  load_rows<Tile, kThreads>(
      tile,
      [&](int j) -> const T* {
        return j0 + j >= first && j0 + j < end ? from + a.key(sequence, head, j0 + j) : nullptr;
      },
      a.D, from, rows_aligned(from, a.D));
}
template <class Tile, int kThreads, class T>
__device__ __forceinline__ void load_keys(T* tile, const T* from, const Attend& a, const PageTable& pages, int sequence,
                                          int head, int j0, int first, int end) {
  load_rows<Tile, kThreads>(
      tile,
      [&](int j) -> const T* {
        if (j0 + j < first || j0 + j >= end) return nullptr;
        const int slot = (j0 + j) % static_cast<int>(kPageTokens);
        return from + ((pages.page(sequence, j0 + j) * kPageTokens + slot) * a.K + head) * a.D;
      },
      a.D, from, rows_aligned(from, a.D));
}

// Sixteen rows of a tile as the left operand of a product over the whole width, loaded when they are multiplied, or held.
template <class Tile>
struct RowsInTile {
  const typename Tile::Element* tile;
  int row;
  __device__ __forceinline__ auto operator[](int k) const {
    return left_operand<Tile, Depth::Inner, 1>(tile, row, k * kStep);
  }
};
template <class Tile>
struct RowsInRegisters {
  Fragments<1> at[Tile::kCols / kStep];
  __device__ __forceinline__ RowsInRegisters(const RowsInTile<Tile>& rows) {
#pragma unroll
    for (int k = 0; k < Tile::kCols / kStep; k++) at[k] = rows[k];
  }
  __device__ __forceinline__ const Fragments<1>& operator[](int k) const { return at[k]; }
};

// sums [16, 8 NJ] = left rows times all of a tile, [16, kWidth] [8 NJ, kWidth]^T.
template <class Right, int NJ, class Left, class T>
__device__ __forceinline__ void rows_times_rows(float (&sums)[1][NJ][4], const Left& left, const T* right) {
  static_assert(Right::kRows == 8 * NJ);
#pragma unroll
  for (int j = 0; j < NJ; j++)
#pragma unroll
    for (int e = 0; e < 4; e++) sums[0][j][e] = 0;
#pragma unroll
  for (int k = 0; k < Right::kCols / kStep; k++)
    multiply(sums, left[k], right_operand<Right, Depth::Inner, NJ>(right, 0, k * kStep));
}

// sums [16, kWidth] += weights [16, 8 NK] rows [8 NK, kWidth], the weights in the registers of this warp.
template <class Rows, int NJ, int NK, class T>
__device__ __forceinline__ void weights_times_rows(float (&sums)[1][NJ][4], const float (&weights)[1][NK][4],
                                                   const T* rows) {
  static_assert(Rows::kRows == 8 * NK && Rows::kCols == 8 * NJ);
#pragma unroll
  for (int k = 0; k < NK; k += 2)
    multiply(sums, left_operand<T>(weights[0][k], weights[0][k + 1]),
             right_operand<Rows, Depth::Outer, NJ>(rows, 0, k * 8));
}

}  // namespace bts::cuda
