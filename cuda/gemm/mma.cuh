// Products of one warp over tiles in shared memory: tensor cores for bf16, fused multiply-adds for float. Both leave
// their sums in the same places, so everything around them is written once.
#pragma once

#include <type_traits>

#include "../gpu.cuh"

namespace bts::cuda {

// How a tile lies in memory: depth, the index that the product sums over, runs along its rows or across them.
enum class Depth { Inner, Outer };

constexpr int kStep = 16;  // depth of one multiply()

template <class T>
constexpr int kVector = 16 / sizeof(T);  // elements in one 16-byte piece

// A tile [kRows, kCols] in shared memory: strips of rows of 128 bytes, one strip below the other. The 16-byte pieces of a
// row change places with the row's number (an XOR): eight rows of one column, which ldmatrix reads at once, then touch all
// banks once, as do eight pieces of one row. It is the 128-byte swizzle of Hopper's copies and products.
template <class T, int Rows, int Cols>
struct Swizzled {
  using Element = T;
  static constexpr int kRows = Rows, kCols = Cols, kSize = Rows * Cols;
  static constexpr int kLength = 128 / sizeof(T);  // of a row of a strip
  static_assert(Rows % 8 == 0 && Cols % kLength == 0);

  __host__ __device__ __forceinline__ static constexpr unsigned at(unsigned row, unsigned col) {
    const unsigned piece = col / kVector<T> % 8 ^ row % 8;
    return (col / kLength * kRows + row) * kLength + piece * kVector<T> + col % kVector<T>;
  }
};

// A 16 x 8 tile of sums is spread over the lanes of a warp as mma.m16n8k16 wants it: element e of lane l is
// (row_of(l, e), col_of(l, e)).
__device__ __forceinline__ int row_of(int lane, int e) { return (lane >> 2) + (e >> 1) * 8; }
__device__ __forceinline__ int col_of(int lane, int e) { return (lane & 3) * 2 + (e & 1); }

// An operand of a warp's product in registers: of the left one tiles of 16 rows, of the right one pairs of tiles of 8.
template <int kTiles>
struct Fragments {
  uint32_t values[kTiles][4];
};

// float has no matrix instruction of full precision: its operands stay in the tile and are read as they are needed.
template <class Tile, Depth L>
struct Resting {
  static constexpr int kUnroll = 2;
  const float* tile;
  int first, depth;
  __device__ __forceinline__ float at(int row, int k) const {
    return L == Depth::Inner ? tile[Tile::at(first + row, depth + k)] : tile[Tile::at(depth + k, first + row)];
  }
  // What the lane needs of its left operand.
  __device__ __forceinline__ float value(int i, int half, int k) const {
    return at(i * 16 + row_of(threadIdx.x % 32, half * 2), k);
  }
};

// Whether a product may be computed when its tiles have been overwritten.
template <class T>
constexpr bool kInRegisters = std::is_same_v<T, bf16>;

// The left operand of a warp's product, [16 MI, kStep]: rows `first`.. of the result, from depth `k` on.
template <class Tile, Depth L, int MI>
__device__ __forceinline__ auto left_operand(const typename Tile::Element* tile, int first, int k) {
  if constexpr (kInRegisters<typename Tile::Element>) {
    const int row = threadIdx.x % 8, matrix = threadIdx.x % 32 / 8;
    Fragments<MI> left;
#pragma unroll
    for (int i = 0; i < MI; i++) {
      if constexpr (L == Depth::Inner)
        ldmatrix_x4(left.values[i], tile + Tile::at(first + i * 16 + matrix % 2 * 8 + row, k + matrix / 2 * 8));
      else
        ldmatrix_x4_transposed(left.values[i],
                               tile + Tile::at(k + matrix / 2 * 8 + row, first + i * 16 + matrix % 2 * 8));
    }
    return left;
  } else {
    return Resting<Tile, L>{tile, first, k};
  }
}

// The right operand, [8 NJ, kStep]: columns `first`.. of the result.
template <class Tile, Depth L, int NJ>
__device__ __forceinline__ auto right_operand(const typename Tile::Element* tile, int first, int k) {
  if constexpr (kInRegisters<typename Tile::Element>) {
    static_assert(NJ % 2 == 0, "one ldmatrix.x4 loads two 8-column tiles");
    const int row = threadIdx.x % 8, matrix = threadIdx.x % 32 / 8;
    Fragments<NJ / 2> right;
#pragma unroll
    for (int j = 0; j < NJ / 2; j++) {
      if constexpr (L == Depth::Inner)
        ldmatrix_x4(right.values[j], tile + Tile::at(first + j * 16 + matrix / 2 * 8 + row, k + matrix % 2 * 8));
      else
        ldmatrix_x4_transposed(right.values[j],
                               tile + Tile::at(k + matrix % 2 * 8 + row, first + j * 16 + matrix / 2 * 8));
    }
    return right;
  } else {
    return Resting<Tile, L>{tile, first, k};
  }
}

// Two neighbouring 16 x 8 tiles of sums as a left operand [16, kStep]: how one product feeds the next without leaving
// the registers. A lane of Fragments needs what it holds itself, rounded to bf16; in float the four lanes of a quad
// hand their columns round.
struct SumRows {
  static constexpr int kUnroll = kStep;  // registers have no run-time index
  float sums[2][4];
  __device__ __forceinline__ float value(int, int half, int k) const {
    return __shfl_sync(0xffffffffu, sums[k / 8][half * 2 + k % 2], (threadIdx.x % 32 & ~3) + k % 8 / 2);
  }
};

template <class T>
__device__ __forceinline__ auto left_operand(const float (&first)[4], const float (&second)[4]) {
  if constexpr (kInRegisters<T>) {
    return Fragments<1>{{{pack_bf16(first[0], first[1]), pack_bf16(first[2], first[3]), pack_bf16(second[0], second[1]),
                          pack_bf16(second[2], second[3])}}};
  } else {
    return SumRows{{{first[0], first[1], first[2], first[3]}, {second[0], second[1], second[2], second[3]}}};
  }
}

// sums [16 MI, 8 NJ] += left [16 MI, kStep] right [8 NJ, kStep]^T
template <int MI, int NJ>
__device__ __forceinline__ void multiply(float (&sums)[MI][NJ][4], const Fragments<MI>& left,
                                         const Fragments<NJ / 2>& right) {
#pragma unroll
  for (int j = 0; j < NJ; j++) {
    const uint32_t* const values = right.values[j / 2] + j % 2 * 2;
    const uint32_t b[2] = {values[0], values[1]};
#pragma unroll
    for (int i = 0; i < MI; i++) mma_m16n8k16_bf16(sums[i][j], left.values[i], b);
  }
}

template <int MI, int NJ, class Left, class Tile, Depth L>
__device__ __forceinline__ void multiply(float (&sums)[MI][NJ][4], const Left& left, const Resting<Tile, L>& right) {
#pragma unroll Left::kUnroll
  for (int k = 0; k < kStep; k++) {
    float fa[MI][2];
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) fa[i][half] = left.value(i, half, k);
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const float fb = right.at(j * 8 + col_of(threadIdx.x % 32, c), k);
#pragma unroll
        for (int i = 0; i < MI; i++)
#pragma unroll
          for (int half = 0; half < 2; half++)
            sums[i][j][half * 2 + c] = fmaf(fa[i][half], fb, sums[i][j][half * 2 + c]);
      }
  }
}

}  // namespace bts::cuda
