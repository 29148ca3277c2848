// The product of a block on Hopper: one thread asks for stages, which the tensor memory accelerator brings into a ring in
// shared memory; two warpgroups multiply them from there and hand them back. Nobody else waits for anybody.
#pragma once

#include "../hopper.cuh"
#include "pipeline.cuh"

namespace bts::cuda {

#if defined(BTS_HOPPER)

// A stage is laid out as on other GPUs, but that all right operands lie one below the other: one product of four warps
// takes them all. S has as many warps as multiply, each with rows of its own; those that load come behind them.
template <Depth LA, Depth LB, class S>
class Ring {
  using Stage = cuda::Stage<bf16, LA, LB, S>;
  static constexpr int kWarps = S::kThreads / 32, kRowsOfGroup = 64, kSums = S::kB * S::kJ * 4;
  static constexpr int kStageBytes = Stage::kSize * sizeof(bf16);
  // From the panel of 64 columns (or rows) of a result to the next.
  static constexpr int kStrip = kRowsOfGroup * 128;
  static_assert(S::kI == 1 && S::kWarpsN == 1 && kStrip == Stage::kDepth * 128);
  static_assert(LB == Depth::Inner || S::kB == 1);

 public:
  // Threads of a block: those of S, and a warpgroup that loads.
  static constexpr int kThreads = S::kThreads + 128;
  static constexpr size_t kBytes = S::kStages * (kStageBytes + 2 * sizeof(Barrier));
  // Rows of the boxes of the left operand's map, and of the right ones'.
  static constexpr int kLeftBox = LA == Depth::Inner ? S::kM : Stage::kDepth;
  static constexpr int kRightBox = LB == Depth::Inner ? S::kN : Stage::kDepth;

  // By all threads of the block.
  __device__ __forceinline__ explicit Ring(unsigned char* shared) : stages_(reinterpret_cast<bf16*>(shared)) {
    arrived_ = reinterpret_cast<Barrier*>(shared + S::kStages * kStageBytes);
    read_ = arrived_ + S::kStages;
    if (threadIdx.x == 0) {
      for (int i = 0; i < S::kStages; i++) {
        barrier_init(arrived_ + i, 1);
        barrier_init(read_ + i, kWarps);
      }
      barrier_init_fence();
    }
    __syncthreads();
  }

  static __device__ __forceinline__ bool loads() { return threadIdx.x >= S::kThreads; }

  // Brings the next stage: what lies `k` deep, of the left operand from `row` on and of right(b) for b < count from `col`
  // on. By one thread of those that load.
  template <class Right>
  __device__ __forceinline__ void load(const TensorMap& left, const Right& right, int row, int col, int k,
                                       int count = S::kB) {
    bf16* const stage = stages_ + slot_ * Stage::kSize;
    Barrier* const arrived = arrived_ + slot_;
    barrier_wait(read_ + slot_, ~round_ & 1);  // of the round before; in the first round nothing is to be read
    barrier_arrive_and_expect(arrived, (Stage::kLeft + count * Stage::kRight) * sizeof(bf16));
    load_panel<LA, S::kM>(stage, left, row, k, arrived);
#pragma unroll
    for (int b = 0; b < S::kB; b++)
      if (b < count) load_panel<LB, S::kN>(stage + Stage::kLeft + b * Stage::kRight, right(b), col, k, arrived);
    next();
  }

  // sums[b] += the product of the next `steps` stages with their right operand b. By all threads of those that multiply.
  __device__ __forceinline__ void multiply(Sums<S>* sums, int steps) {
    auto& d = *reinterpret_cast<float (*)[kSums]>(sums);
    settle(d);
    Barrier* before = nullptr;
    for (int step = 0; step < steps; step++) {
      const bf16* const stage = stages_ + slot_ * Stage::kSize;
      const uint64_t left = descriptor<LA, kStrip>(stage + threadIdx.x / 128 * (kStrip / sizeof(bf16)));
      const uint64_t right = descriptor<LB, kStrip>(stage + Stage::kLeft);
      barrier_wait(arrived_ + slot_, round_ & 1);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < Stage::kDepth / kStep; k++)
        wgmma<LA, LB>(d, left + k * kDescriptorStep<LA>, right + k * kDescriptorStep<LB>);
      wgmma_commit();
      wgmma_wait<1>();  // the stage before has been read, while this one is multiplied
      if (before) hand_back(before);
      before = read_ + slot_;
      next();
    }
    wgmma_wait<0>();
    settle(d);
    if (before) hand_back(before);
  }

 private:
  template <Depth L, int kExtent>
  static __device__ __forceinline__ void load_panel(bf16* panel, const TensorMap& map, int at, int k,
                                                    Barrier* arrived) {
    if constexpr (L == Depth::Inner) {
      copy_box(panel, map, k, at, arrived);
    } else {
#pragma unroll
      for (int strip = 0; strip < kExtent / 64; strip++)
        copy_box(panel + strip * (kStrip / sizeof(bf16)), map, at + strip * 64, k, arrived);
    }
  }

  // A warp has read a stage when all its lanes have waited for their products.
  static __device__ __forceinline__ void hand_back(Barrier* read) {
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(read);
  }

  __device__ __forceinline__ void next() {
    if (++slot_ < S::kStages) return;
    slot_ = 0;
    round_++;
  }

  bf16* stages_;
  Barrier *arrived_, *read_;
  int slot_ = 0;
  unsigned round_ = 0;
};

// Registers of the threads that load and of those that multiply: together what 384 threads have.
constexpr int kLoadingRegisters = 40, kMultiplyingRegisters = 232;
// 256 threads have enough of them as it is.
template <class S>
constexpr bool kMovesRegisters = S::kThreads > 128;

#endif

}  // namespace bts::cuda
