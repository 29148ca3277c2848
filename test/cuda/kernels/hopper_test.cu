// What Hopper's kernels are made of, by itself: boxes of arrays with heads, products whose left operand lies in tiles or in
// registers, results that begin at zero, and warpgroups that take turns.
#include "check.h"
#include "hopper.cuh"

namespace bts::check {

namespace {

#if defined(BTS_BF16) && defined(BTS_HOPPER)

using namespace bts::cuda;

constexpr int kDepth = 64, kGroup = 128;

// out [64, n] = A B^T (+ A B^T where `twice`), of one head of one sequence of a [.., 64, heads, 64] and of b: from row
// `row` on of [.., n, heads, 64], or with its depth across the rows.
template <Depth LB, int n, bool registers, bool twice>
__global__ void __launch_bounds__(kGroup) product_kernel(float* out, const __grid_constant__ TensorMap a,
                                                         const __grid_constant__ TensorMap b, int row) {
#if defined(BTS_HOPPER_CODE)
  DYNAMIC_SHARED(shared);
  using Left = Swizzled<bf16, 64, kDepth>;
  constexpr int kStrip = kDepth * 128;
  bf16 *const left = reinterpret_cast<bf16*>(shared), *const right = left + Left::kSize;
  Barrier* const arrived = reinterpret_cast<Barrier*>(right + n * kDepth);
  if (threadIdx.x == 0) {
    barrier_init(arrived, 1);
    barrier_init_fence();
    barrier_arrive_and_expect(arrived, (64 + n) * kDepth * sizeof(bf16));
    copy_box(left, a, 0, 1, 0, 1, arrived);
    if constexpr (LB == Depth::Inner) {
      copy_box(right, b, 0, 1, row, 1, arrived);
    } else {
      for (int strip = 0; strip < n / 64; strip++)
        copy_box(right + strip * (kStrip / sizeof(bf16)), b, strip * 64, 1, row, 1, arrived);
    }
  }
  __syncthreads();
  barrier_wait(arrived, 0);
  float d[n / 2];
  uint32_t held[kDepth / kStep][4];
  const uint64_t from_left = descriptor<Depth::Inner>(left), from_right = descriptor<LB, kStrip>(right);
#pragma unroll
  for (int k = 0; k < kDepth / kStep; k++) {
    const auto rows = left_operand<Left, Depth::Inner, 1>(left, threadIdx.x / 32 * 16, k * kStep);
#pragma unroll
    for (int i = 0; i < 4; i++) held[k][i] = rows.values[0][i];
  }
  wgmma_fence();
#pragma unroll
  for (int time = 0; time <= twice; time++)
#pragma unroll
    for (int k = 0; k < kDepth / kStep; k++) {
      const bool add = time + k > 0;
      const uint64_t right_k = from_right + k * kDescriptorStep<LB>;
      if constexpr (registers) wgmma<LB>(d, held[k], right_k, add);
      else wgmma<Depth::Inner, LB>(d, from_left + k * kDescriptorStep<Depth::Inner>, right_k, add);
    }
  wgmma_commit();
  wgmma_wait<0>();
  settle(d);
  const int lane = threadIdx.x % 32;
  for (int i = 0; i < n / 2; i++)
    out[(threadIdx.x / 32 * 16 + row_of(lane, i % 4)) * n + i / 4 * 8 + col_of(lane, i % 4)] = d[i];
#endif
}

template <Depth LB, int n, bool registers, bool twice>
void product() {
  const std::string name = "hopper product of 64 x " + std::to_string(n) + (registers ? ", registers" : ", tiles") +
                           (LB == Depth::Inner ? ", inner" : ", outer") + (twice ? ", twice" : "");
  if (!wanted(name, 64.0 * n * kDepth) || !context().hopper()) return;
  // Two sequences, of b three, and three heads, of which the second's are taken. The box of b is as long as a sequence and
  // begins later: it ends with zeros, not with the next sequence.
  constexpr int kHeads = 3, rows = LB == Depth::Inner ? n : kDepth, width = LB == Depth::Inner ? kDepth : n;
  const int row = 3;
  const auto a = numbers<bf16>(2 * 64 * kHeads * kDepth, 1), b = numbers<bf16>(3 * rows * kHeads * width, 2);
  Device<bf16> device_a(a), device_b(b);
  Device<float> out(64 * n);
  const auto map = [](const bf16* data, int sequences, int rows, int width) {
    return tensor_map(data, {{width, 1, kBoxCols},
                             {kHeads, width, 1},
                             {rows, kHeads * width, rows},
                             {sequences, int64_t{rows} * kHeads * width, 1}});
  };
  const size_t bytes = (64 + n) * kDepth * sizeof(bf16) + sizeof(Barrier);
  GPU_LAUNCH(context(), (product_kernel<LB, n, registers, twice>), dim3(1), dim3(kGroup), bytes, out.get(),
             map(device_a.get(), 2, 64, kDepth), map(device_b.get(), 3, rows, width), row);
  std::vector<double> exact(64 * n);
  std::vector<float> plain(64 * n);
  for (int i = 0; i < 64; i++)
    for (int j = 0; j < n; j++)
      for (int time = 0; time <= twice; time++)
        for (int k = 0; k < kDepth; k++) {
          const int r = row + (LB == Depth::Inner ? j : k), c = LB == Depth::Inner ? k : j;
          const float x = a[((64 + i) * kHeads + 1) * kDepth + k];
          const float y = r < rows ? b[((rows + r) * kHeads + 1) * width + c] : 0;
          exact[i * n + j] += double{x} * y;
          plain[i * n + j] += x * y;
        }
  compare<float>(name, out.read(), plain, exact);
}

constexpr int kTurns = 5;

// Two warpgroups write down who comes, each waiting for its turn: number 1 + group is that of the group.
__global__ void __launch_bounds__(2 * kGroup) turns_kernel(float* out) {
#if defined(BTS_HOPPER_CODE)
  DYNAMIC_SHARED(shared);
  int* const count = reinterpret_cast<int*>(shared);
  const int group = threadIdx.x / kGroup;
  if (threadIdx.x == 0) *count = 0;
  __syncthreads();
  if (group == 1) named_barrier_arrive(1, 2 * kGroup);
  for (int turn = 0; turn < kTurns; turn++) {
    named_barrier_wait(1 + group, 2 * kGroup);
    if (threadIdx.x % kGroup == 0) out[(*count)++] = group;
    named_barrier_arrive(2 - group, 2 * kGroup);
  }
  if (group == 0) named_barrier_wait(1, 2 * kGroup);  // the last one's word
#endif
}

void turns() {
  const std::string name = "hopper turns of two warpgroups";
  if (!wanted(name, 0) || !context().hopper()) return;
  Device<float> out(2 * kTurns);
  GPU_LAUNCH(context(), turns_kernel, dim3(1), dim3(2 * kGroup), sizeof(int), out.get());
  std::vector<double> exact(2 * kTurns);
  for (int i = 0; i < 2 * kTurns; i++) exact[i] = i % 2;
  compare<float>(name, out.read(), std::vector<float>(exact.begin(), exact.end()), exact);
}

template <int n>
void products() {
  product<Depth::Inner, n, false, false>();
  product<Depth::Inner, n, true, true>();
  product<Depth::Outer, n, false, true>();
  product<Depth::Outer, n, true, false>();
}

void run() {
  products<64>();
  products<128>();
  products<256>();
  turns();
}

const Family family(run);

#endif

}  // namespace

}  // namespace bts::check
