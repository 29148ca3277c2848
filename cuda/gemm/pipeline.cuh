// The product of a whole block: operands come in stages through shared memory, loads running ahead of the sums; within a
// stage the operands of the next step are loaded into registers while this one multiplies.
#pragma once

#include "tile.cuh"

namespace bts::cuda {

// The shape of a block's work: sums [kM, kN] over kWarpsM x kWarpsN warps, kStages tiles in flight, kB right operands
// that share the left one.
template <int M, int N, int WarpsM, int WarpsN, int Stages, int B = 1>
struct Shape {
  static constexpr int kM = M, kN = N, kWarpsM = WarpsM, kWarpsN = WarpsN, kStages = Stages, kB = B;
  static constexpr int kThreads = WarpsM * WarpsN * 32;
  static constexpr bool kAligned = true;                           // every row of both operands begins on 16 bytes
  static constexpr int kI = M / WarpsM / 16, kJ = N / WarpsN / 8;  // 16 x 8 tiles of one warp
  static_assert(kI >= 1 && kJ >= 2);

  // The corner of this warp's sums within [kM, kN].
  static __device__ __forceinline__ int first_row() { return threadIdx.x / 32 / WarpsN * (kI * 16); }
  static __device__ __forceinline__ int first_col() { return threadIdx.x / 32 % WarpsN * (kJ * 8); }
};

// The same work on operands whose rows begin anywhere: their copies by element are code that the others are better without.
template <class S>
struct Unaligned : S {
  static constexpr bool kAligned = false;
};

template <class S>
using Sums = float[S::kI][S::kJ][4];

// One operand's part of a stage: kExtent rows (or columns) of the result, kDepth deep (128 bytes).
template <class T, Depth L, int kExtent>
struct Panel {
  static constexpr int kDepth = 128 / sizeof(T);
  using Tile = std::conditional_t<L == Depth::Inner, Swizzled<T, kExtent, kDepth>, Swizzled<T, kDepth, kExtent>>;

  template <class S>
  static __device__ __forceinline__ void load(T* to, const Matrix<T>& from, int at, int extent, int k, int depth) {
    if constexpr (L == Depth::Inner) load_tile<Tile, S::kThreads, S::kAligned>(to, from, at, extent, k, depth);
    else load_tile<Tile, S::kThreads, S::kAligned>(to, from, k, depth, at, extent);
  }
};

// A stage: a panel of the left operand and one of every right operand.
template <class T, Depth LA, Depth LB, class S>
struct Stage {
  using Left = Panel<T, LA, S::kM>;
  using Right = Panel<T, LB, S::kN>;
  static constexpr int kDepth = Left::kDepth;
  static constexpr int kLeft = Left::Tile::kSize, kRight = Right::Tile::kSize;
  static constexpr int kSize = kLeft + S::kB * kRight;

  static __host__ __device__ __forceinline__ int steps(int depth) { return ceil_div(depth, kDepth); }

  // Loads what lies `k` deep: of the left operand from `row` on, of right(b) for b < count from `col` on.
  template <class Operands>
  static __device__ __forceinline__ void load(T* stage, const Matrix<T>& left, const Operands& right, int count,
                                              int row, int rows, int col, int cols, int k, int depth) {
    Left::template load<S>(stage, left, row, rows, k, depth);
#pragma unroll
    for (int b = 0; b < S::kB; b++)
      if (b < count) Right::template load<S>(stage + kLeft + b * kRight, right(b), col, cols, k, depth);
  }
};

template <class T, Depth LA, Depth LB, class S>
constexpr size_t product_bytes() {
  return S::kStages * Stage<T, LA, LB, S>::kSize * sizeof(T);
}

// The stages of a block. ahead(stage) loads the stage that comes next in the order in which they are multiplied, over the
// ends of products and of tiles, and does nothing when there is none.
template <class T, Depth LA, Depth LB, class S, class Ahead>
class Pipeline {
  using Stage = cuda::Stage<T, LA, LB, S>;

 public:
  __device__ __forceinline__ Pipeline(unsigned char* shared, const Ahead& ahead)
      : stages_(reinterpret_cast<T*>(shared)), ahead_(ahead) {
    for (int i = 0; i + 1 < S::kStages; i++) load(i);
  }
  // What was multiplied last, until the next product begins: shared memory for what becomes of the sums.
  __device__ __forceinline__ float* staging() const {
    __syncthreads();  // it has been read by all
    return reinterpret_cast<float*>(stages_ + (reading_ < 0 ? S::kStages - 1 : reading_) * Stage::kSize);
  }
  // A block must not end with copies in flight.
  __device__ __forceinline__ ~Pipeline() { cp_async_wait<0>(); }

  // sums[b] += the product of the next `steps` stages with their right operand b, for b < count.
  template <int kB>
  __device__ __forceinline__ void multiply(float (*sums)[S::kI][S::kJ][4], int steps, int count = kB) {
    if (steps == 0) return;
    arrive();
    auto left = left_at(0);
    auto right = right_at(0, 0);
    for (int step = 0; step < steps; step++) {
#pragma unroll kUnroll
      for (int k = 0; k < Stage::kDepth; k += kStep) {
        if (k == (loads_late() ? kLate : 0)) load(free_);
#pragma unroll
        for (int b = 0; b < kB; b++) {
          // What is resting in shared memory must be multiplied before the next stage may overwrite it.
          if (!kInRegisters<T> && b < count) cuda::multiply(sums[b], left, right);
          auto next_left = left;
          auto next_right = right;
          if (b + 1 < kB) {
            if (b + 1 < count) next_right = right_at(b + 1, k);
          } else if (k + kStep < Stage::kDepth) {
            next_left = left_at(k + kStep);
            next_right = right_at(0, k + kStep);
          } else if (step + 1 < steps) {
            arrive();
            next_left = left_at(0);
            next_right = right_at(0, 0);
          }
          if (kInRegisters<T> && b < count) cuda::multiply(sums[b], left, right);
          left = next_left;
          right = next_right;
        }
      }
    }
  }

 private:
  static constexpr int kUnroll = kInRegisters<T> ? Stage::kDepth / kStep : 1;
  static constexpr int kLate = S::kB <= 8 ? Stage::kDepth / 2 : 0;  // of more, two places would cost registers

  // Asking for a stage takes a warp as long as multiplying a quarter of one: of the warps that share tensor cores, which are
  // four apart, one does it while the other multiplies.
  static __device__ __forceinline__ bool loads_late() { return threadIdx.x / 128 % 2 == 1; }

  __device__ __forceinline__ auto left_at(int k) const {
    return left_operand<typename Stage::Left::Tile, LA, S::kI>(stages_ + reading_ * Stage::kSize, S::first_row(), k);
  }
  __device__ __forceinline__ auto right_at(int b, int k) const {
    return right_operand<typename Stage::Right::Tile, LB, S::kJ>(
        stages_ + reading_ * Stage::kSize + Stage::kLeft + b * Stage::kRight, S::first_col(), k);
  }

  __device__ __forceinline__ void load(int slot) {
    ahead_(stages_ + slot * Stage::kSize);
    cp_async_commit();  // also when empty: the wait below counts groups
  }

  // Goes on to the next stage, and leaves the place of the one before it to be filled.
  __device__ __forceinline__ void arrive() {
    cp_async_wait<S::kStages - 2>();
    __syncthreads();  // the stage has arrived for all, and the one before it has been read by all
    free_ = reading_ < 0 ? S::kStages - 1 : reading_;
    reading_ = reading_ + 1 == S::kStages ? 0 : reading_ + 1;
  }

  T* stages_;
  Ahead ahead_;
  int reading_ = -1, free_ = 0;
};

}  // namespace bts::cuda
