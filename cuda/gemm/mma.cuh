// Products of one warp over tiles in shared memory: tensor cores for bf16, fused multiply-adds for float. Both leave
// their sums in the same places, so everything around them is written once.
#pragma once

#include <type_traits>

#include "../gpu.cuh"

namespace bts::cuda {

// How a tile lies in memory: depth, the index that the product sums over, runs along its rows or across them.
enum class Depth { Inner, Outer };

constexpr int kStep = 16;  // depth of one multiply()

// A 16 x 8 tile of sums is spread over the lanes of a warp as mma.m16n8k16 wants it: element e of lane l is
// (row_of(l, e), col_of(l, e)).
__device__ __forceinline__ int row_of(int lane, int e) { return (lane >> 2) + (e >> 1) * 8; }
__device__ __forceinline__ int col_of(int lane, int e) { return (lane & 3) * 2 + (e & 1); }

// The left operand of a warp's product, [16 MI, kStep], in registers.
template <int MI>
struct Fragments {
  uint32_t values[MI][4];
};

// `a` points at the corner of a tile whose rows are `stride` elements apart (a multiple of 16 bytes).
template <Depth L, int MI>
__device__ __forceinline__ Fragments<MI> left_operand(const bf16* a, int stride) {
  const int row = threadIdx.x % 8, matrix = threadIdx.x % 32 / 8;
  Fragments<MI> left;
#pragma unroll
  for (int i = 0; i < MI; i++) {
    if constexpr (L == Depth::Inner)
      ldmatrix_x4(left.values[i], a + (i * 16 + matrix % 2 * 8 + row) * stride + matrix / 2 * 8);
    else ldmatrix_x4_transposed(left.values[i], a + (matrix / 2 * 8 + row) * stride + i * 16 + matrix % 2 * 8);
  }
  return left;
}

// sums [16 MI, 8 NJ] += left [16 MI, kStep] b [8 NJ, kStep]^T
template <Depth L, int MI, int NJ>
__device__ __forceinline__ void multiply(float (&sums)[MI][NJ][4], const Fragments<MI>& left, const bf16* b,
                                         int stride) {
  static_assert(NJ % 2 == 0, "one ldmatrix.x4 loads two 8-column tiles");
  const int row = threadIdx.x % 8, matrix = threadIdx.x % 32 / 8;
#pragma unroll
  for (int j = 0; j < NJ; j += 2) {
    uint32_t right[4];
    if constexpr (L == Depth::Inner) ldmatrix_x4(right, b + (j * 8 + matrix / 2 * 8 + row) * stride + matrix % 2 * 8);
    else ldmatrix_x4_transposed(right, b + (matrix % 2 * 8 + row) * stride + j * 8 + matrix / 2 * 8);
    const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
#pragma unroll
    for (int i = 0; i < MI; i++) {
      mma_m16n8k16_bf16(sums[i][j], left.values[i], first);
      mma_m16n8k16_bf16(sums[i][j + 1], left.values[i], second);
    }
  }
}

// float has no matrix instruction of full precision: its left operand stays where it is and is read as it is needed.
template <Depth L>
struct TileRows {
  static constexpr int kUnroll = 2;
  const float* tile;
  int stride;
  __device__ __forceinline__ float value(int i, int half, int k) const {
    const int row = i * 16 + row_of(threadIdx.x % 32, half * 2);
    return L == Depth::Inner ? tile[row * stride + k] : tile[k * stride + row];
  }
};

template <Depth L, int MI>
__device__ __forceinline__ TileRows<L> left_operand(const float* a, int stride) {
  return {a, stride};
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
  if constexpr (std::is_same_v<T, bf16>) {
    return Fragments<1>{{{pack_bf16(first[0], first[1]), pack_bf16(first[2], first[3]), pack_bf16(second[0], second[1]),
                          pack_bf16(second[2], second[3])}}};
  } else {
    return SumRows{{{first[0], first[1], first[2], first[3]}, {second[0], second[1], second[2], second[3]}}};
  }
}

template <Depth L, int MI, int NJ, class Rows>
__device__ __forceinline__ void multiply(float (&sums)[MI][NJ][4], const Rows& left, const float* b, int stride) {
#pragma unroll Rows::kUnroll
  for (int k = 0; k < kStep; k++) {
    float fb[NJ][2];
#pragma unroll
    for (int j = 0; j < NJ; j++)
#pragma unroll
      for (int c = 0; c < 2; c++) {
        const int col = j * 8 + col_of(threadIdx.x % 32, c);
        fb[j][c] = L == Depth::Inner ? b[col * stride + k] : b[k * stride + col];
      }
#pragma unroll
    for (int i = 0; i < MI; i++)
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float fa = left.value(i, half, k);
#pragma unroll
        for (int j = 0; j < NJ; j++)
#pragma unroll
          for (int c = 0; c < 2; c++) sums[i][j][half * 2 + c] = fmaf(fa, fb[j][c], sums[i][j][half * 2 + c]);
      }
  }
}

}  // namespace bts::cuda
