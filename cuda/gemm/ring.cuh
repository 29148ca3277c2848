// The product of a block on Hopper: one thread asks for stages, which the tensor memory accelerator brings into a ring in
// shared memory; two warpgroups multiply them from there and hand them back. Nobody else waits for anybody.
#pragma once

#include "../hopper.cuh"
#include "epilogue.cuh"

namespace bts::cuda {

#if defined(BTS_HOPPER)

// The places of a ring in shared memory: one thread fills them in turn, warps read them in the same turn and hand them back.
template <int kCount>
class Places {
 public:
  static constexpr size_t kBytes = 2 * kCount * sizeof(Barrier);

  // Of `warps` warps that read. A barrier of the block follows.
  __device__ __forceinline__ Places(unsigned char* shared, int warps)
      : arrived_(reinterpret_cast<Barrier*>(shared)), read_(arrived_ + kCount) {
    if (threadIdx.x != 0) return;
    for (int i = 0; i < kCount; i++) {
      barrier_init(arrived_ + i, 1);
      barrier_init(read_ + i, warps);
    }
    barrier_init_fence();
  }

  // The next place, when it has been read; calls fill(place, barrier) for copies of so many bytes.
  template <class Fill>
  __device__ __forceinline__ void fill_next(uint32_t bytes, Fill&& fill) {
    barrier_wait(read_ + place_, ~round_ & 1);  // of the round before; in the first round nothing is to be read
    barrier_arrive_and_expect(arrived_ + place_, bytes);
    fill(place_, arrived_ + place_);
    next();
  }

  // The next place, when it has been filled.
  __device__ __forceinline__ int take_next() {
    const int place = place_;
    barrier_wait(arrived_ + place, round_ & 1);
    next();
    return place;
  }

  // A warp has read a place when all its lanes have waited for their products. `known` is true; a value that the compiler
  // cannot foresee holds what it comes from before what follows.
  __device__ __forceinline__ void hand_back(int place, bool known = true) {
    __syncwarp();
    if (threadIdx.x % 32 == 0 && known) barrier_arrive(read_ + place);
  }

 private:
  __device__ __forceinline__ void next() {
    if (++place_ < kCount) return;
    place_ = 0;
    round_++;
  }

  Barrier *arrived_, *read_;
  int place_ = 0;
  unsigned round_ = 0;
};

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
  static constexpr size_t kBytes =
      S::kStages * kStageBytes + Staging::kOfBlock<S> * sizeof(float) + Places<S::kStages>::kBytes;
  // Rows of the boxes of the left operand's map, and of the right ones'.
  static constexpr int kLeftBox = LA == Depth::Inner ? S::kM : Stage::kDepth;
  static constexpr int kRightBox = LB == Depth::Inner ? S::kN : Stage::kDepth;

  // By all threads of the block.
  __device__ __forceinline__ Ring(unsigned char* shared, const TileOrder& order)
      : left_(order.left()),
        right_(order.right()),
        stages_(reinterpret_cast<bf16*>(shared)),
        places_(reinterpret_cast<unsigned char*>(staging() + Staging::kOfBlock<S>), kWarps) {
    __syncthreads();
  }

  // Shared memory for what becomes of the sums, while the next stages arrive.
  __device__ __forceinline__ float* staging() const {
    return reinterpret_cast<float*>(stages_ + S::kStages * Stage::kSize);
  }

  static __device__ __forceinline__ bool loads() { return threadIdx.x >= S::kThreads; }

  // Brings the next stage: what lies `k` deep, of the left operand from `row` on and of right(b) for b < count from `col`
  // on. By one thread of those that load.
  template <class Right>
  __device__ __forceinline__ void load(const TensorMap& left, const Right& right, int row, int col, int k,
                                       int count = S::kB) {
    places_.fill_next((Stage::kLeft + count * Stage::kRight) * sizeof(bf16), [&](int place, Barrier* arrived) {
      bf16* const stage = stages_ + place * Stage::kSize;
      load_panel<LA, S::kM>(stage, left, row, k, left_, arrived);
#pragma unroll
      for (int b = 0; b < S::kB; b++)
        if (b < count)
          load_panel<LB, S::kN>(stage + Stage::kLeft + b * Stage::kRight, right(b), col, k, right_, arrived);
    });
  }

  // sums[b] += the product of the next `steps` stages with their right operand b. By all threads of those that multiply.
  __device__ __forceinline__ void multiply(Sums<S>* sums, int steps) {
    auto& d = *reinterpret_cast<float (*)[kSums]>(sums);
    settle(d);
    int before = -1;
    for (int step = 0; step < steps; step++) {
      const int place = places_.take_next();
      const bf16* const stage = stages_ + place * Stage::kSize;
      const uint64_t left = descriptor<LA, kStrip>(stage + threadIdx.x / 128 * (kStrip / sizeof(bf16)));
      const uint64_t right = descriptor<LB, kStrip>(stage + Stage::kLeft);
      wgmma_fence();
#pragma unroll
      for (int k = 0; k < Stage::kDepth / kStep; k++)
        wgmma<LA, LB>(d, left + k * kDescriptorStep<LA>, right + k * kDescriptorStep<LB>);
      wgmma_commit();
      wgmma_wait<1>();  // the stage before has been read, while this one is multiplied
      if (before >= 0) places_.hand_back(before);
      before = place;
    }
    wgmma_wait<0>();
    settle(d);
    if (before >= 0) places_.hand_back(before);
  }

 private:
  template <Depth L, int kExtent>
  static __device__ __forceinline__ void load_panel(bf16* panel, const TensorMap& map, int at, int k, Keep keep,
                                                    Barrier* arrived) {
    if constexpr (L == Depth::Inner) {
      copy_box(panel, map, k, at, keep, arrived);
    } else {
#pragma unroll
      for (int strip = 0; strip < kExtent / 64; strip++)
        copy_box(panel + strip * (kStrip / sizeof(bf16)), map, at + strip * 64, k, keep, arrived);
    }
  }

  Keep left_, right_;
  bf16* stages_;
  Places<S::kStages> places_;
};

// Registers of the threads that load and of those that multiply: together what 384 threads have.
constexpr int kLoadingRegisters = 40, kMultiplyingRegisters = 232;
// 256 threads have enough of them as it is.
template <class S>
constexpr bool kMovesRegisters = S::kThreads > 128;

#endif

}  // namespace bts::cuda
