// Tiles of matrices in shared memory, brought there by cp.async, and the product of a whole block over them.
#pragma once

#include "mma.cuh"

namespace bts::cuda {

// A matrix in device memory: element (r, c) stands at data[r * stride + c].
template <class T>
struct Matrix {
  const T* data;
  int64_t stride;
};

__host__ __device__ constexpr int ceil_div(int64_t a, int64_t b) { return static_cast<int>((a + b - 1) / b); }

template <class T>
constexpr int kVector = 16 / sizeof(T);  // elements in one 16-byte copy

// Rows of tiles are one vector longer than their contents: eight rows then touch all banks once.
template <class T>
__host__ __device__ constexpr int padded(int cols) {
  return cols + kVector<T>;
}

// tile [kRows, padded(kCols)] = the first `cols` elements of the rows at rows(r); zeros beyond, and where rows(r) is null.
// `anywhere` is an address that may be named where nothing is read. Rows that are not 16-byte aligned are copied by
// element. Arrival: cp_async_wait and a barrier.
template <int kRows, int kCols, int kThreads, class T, class Rows>
__device__ __forceinline__ void load_rows(T* tile, const Rows& rows, int cols, const T* anywhere, bool aligned) {
  constexpr int kPieces = kCols / kVector<T>;
  static_assert(kCols % kVector<T> == 0);
#pragma unroll
  for (int first = 0; first < kRows * kPieces; first += kThreads) {
    const int piece = first + threadIdx.x;
    if (kRows * kPieces % kThreads != 0 && piece >= kRows * kPieces) break;
    const int r = piece / kPieces, c = piece % kPieces * kVector<T>;
    const T* row = rows(r);
    const int left = row ? min(max(cols - c, 0), kVector<T>) : 0;
    const T* source = left > 0 ? row + c : anywhere;
    T* to = tile + r * padded<T>(kCols) + c;
    if (aligned) {
      cp_async16(to, source, left * sizeof(T));
    } else {
      for (int i = 0; i < kVector<T>; i++) to[i] = i < left ? source[i] : T{};
    }
  }
}

// tile = from[row.., col..]; zeros where that lies outside of [rows, cols].
template <int kRows, int kCols, int kThreads, class T>
__device__ __forceinline__ void load_tile(T* tile, const Matrix<T>& from, int row, int rows, int col, int cols) {
  const bool aligned = ((reinterpret_cast<uintptr_t>(from.data) | (from.stride * sizeof(T))) & 15) == 0;
  load_rows<kRows, kCols, kThreads>(
      tile, [&](int r) -> const T* { return row + r < rows ? from.data + (row + r) * from.stride + col : nullptr; },
      cols - col, from.data, aligned);
}

// to[0] = first and, where there is a pair, to[1] = second: in one access where `to` is aligned for it. kStreaming as
// store_streaming says.
template <bool kStreaming = false>
__device__ __forceinline__ void store_pair(float* to, float first, float second, bool pair) {
  if (pair && reinterpret_cast<uintptr_t>(to) % 8 == 0) {
    if constexpr (kStreaming) store_streaming(reinterpret_cast<float2*>(to), make_float2(first, second));
    else *reinterpret_cast<float2*>(to) = make_float2(first, second);
  } else {
    to[0] = first;
    if (pair) to[1] = second;
  }
}
template <bool kStreaming = false>
__device__ __forceinline__ void store_pair(bf16* to, float first, float second, bool pair) {
  if (pair && reinterpret_cast<uintptr_t>(to) % 4 == 0) {
    if constexpr (kStreaming) store_streaming(reinterpret_cast<uint32_t*>(to), pack_bf16(first, second));
    else *reinterpret_cast<uint32_t*>(to) = pack_bf16(first, second);
  } else {
    to[0] = to_bf16(first);
    if (pair) to[1] = to_bf16(second);
  }
}

// The shape of a block's work: sums [kM, kN] over kWarpsM x kWarpsN warps, kStages tiles in flight, kB right operands
// that share the left one.
template <int M, int N, int WarpsM, int WarpsN, int Stages, int B = 1>
struct Shape {
  static constexpr int kM = M, kN = N, kWarpsM = WarpsM, kWarpsN = WarpsN, kStages = Stages, kB = B;
  static constexpr int kThreads = WarpsM * WarpsN * 32;
  static constexpr int kI = M / WarpsM / 16, kJ = N / WarpsN / 8;  // 16 x 8 tiles of one warp
  static_assert(kI >= 1 && kJ >= 2);

  // Place of sum (i, j, e) of this thread within [kM, kN].
  static __device__ __forceinline__ int row(int i, int e) {
    return threadIdx.x / 32 / WarpsN * (kI * 16) + i * 16 + row_of(threadIdx.x % 32, e);
  }
  static __device__ __forceinline__ int col(int j, int e) {
    return threadIdx.x / 32 % WarpsN * (kJ * 8) + j * 8 + col_of(threadIdx.x % 32, e);
  }
};

template <class S>
using Sums = float[S::kI][S::kJ][4];

// One operand's part of a stage: kExtent rows (or columns) of the result, kDepth deep (64 bytes).
template <class T, Depth L, int kExtent>
struct Panel {
  static constexpr int kDepth = 64 / sizeof(T);
  static constexpr int kRows = L == Depth::Inner ? kExtent : kDepth, kCols = L == Depth::Inner ? kDepth : kExtent;
  static constexpr int kStride = padded<T>(kCols), kSize = kRows * kStride;

  template <int kThreads>
  static __device__ __forceinline__ void load(T* to, const Matrix<T>& from, int at, int extent, int k, int depth) {
    if constexpr (L == Depth::Inner) load_tile<kRows, kCols, kThreads>(to, from, at, extent, k, depth);
    else load_tile<kRows, kCols, kThreads>(to, from, k, depth, at, extent);
  }

  static __device__ __forceinline__ const T* corner(const T* panel, int at, int k) {
    return L == Depth::Inner ? panel + at * kStride + k : panel + k * kStride + at;
  }
};

template <class T, Depth LA, Depth LB, class S>
constexpr size_t product_bytes() {
  return S::kStages * (Panel<T, LA, S::kM>::kSize + S::kB * Panel<T, LB, S::kN>::kSize) * sizeof(T);
}

// sums[b] += A[row.., :] B_b[col.., :]^T for b < count, over the whole depth, by the whole block. A has `rows` rows and
// each B `cols` (as the product sees them, whatever L says of memory). right(b) names B_b.
template <class T, Depth LA, Depth LB, class S, class Right>
__device__ __forceinline__ void block_product(float (*sums)[S::kI][S::kJ][4], unsigned char* shared,
                                              const Matrix<T>& left, const Right& right, int count, int row, int rows,
                                              int col, int cols, int depth) {
  using A = Panel<T, LA, S::kM>;
  using B = Panel<T, LB, S::kN>;
  constexpr int kStage = A::kSize + S::kB * B::kSize;
  // Operands of two layouts take addresses of two kinds: unrolled too, they do not fit the registers.
  [[maybe_unused]] constexpr int kUnroll = LA == LB ? A::kDepth / kStep : 1;
  T* const stages = reinterpret_cast<T*>(shared);
  const int steps = ceil_div(depth, A::kDepth);

  const auto load = [&](int step) {
    if (step < steps) {
      T* stage = stages + step % S::kStages * kStage;
      A::template load<S::kThreads>(stage, left, row, rows, step * A::kDepth, depth);
#pragma unroll
      for (int b = 0; b < S::kB; b++)
        if (b < count)
          B::template load<S::kThreads>(stage + A::kSize + b * B::kSize, right(b), col, cols, step * A::kDepth, depth);
    }
    cp_async_commit();  // also when empty: the wait below counts groups
  };

  __syncthreads();  // the product before may still be reading
  for (int step = 0; step < S::kStages - 1; step++) load(step);
  for (int step = 0; step < steps; step++) {
    cp_async_wait<S::kStages - 2>();
    __syncthreads();  // this stage has arrived for all, and the one before it has been read by all
    load(step + S::kStages - 1);
    const T* stage = stages + step % S::kStages * kStage;
#pragma unroll kUnroll
    for (int k = 0; k < A::kDepth; k += kStep) {
      const auto left_rows =
          left_operand<LA, S::kI>(A::corner(stage, threadIdx.x / 32 / S::kWarpsN * (S::kI * 16), k), A::kStride);
#pragma unroll
      for (int b = 0; b < S::kB; b++)
        if (b < count)
          multiply<LB>(sums[b], left_rows,
                       B::corner(stage + A::kSize + b * B::kSize, threadIdx.x / 32 % S::kWarpsN * (S::kJ * 8), k),
                       B::kStride);
    }
  }
  cp_async_wait<0>();
}

}  // namespace bts::cuda
