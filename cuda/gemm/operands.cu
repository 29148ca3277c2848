#include "operands.h"

#include "../members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kThreads = 256, kBlocks = 64;  // for each weight

struct Copies {
  act* to[kMembers];
};

// to_m[i] = from_m[i]
__global__ void __launch_bounds__(kThreads) convert_kernel(const __grid_constant__ Copies copies,
                                                           const __grid_constant__ WeightList from, int64_t n) {
  const int m = blockIdx.y;
  with_elements(from, m, [&](auto* weight) {
    for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += int64_t{gridDim.x} * kThreads)
      copies.to[m][i] = from_float<act>(to_float(weight[i]));
  });
}

}  // namespace

std::vector<const act*> operands(Context& context, Weights weights, int64_t n) {
  std::vector<const act*> result;
  std::vector<Weight> others;
  std::vector<act*> copies;
  for (const Weight& weight : weights) {
    if (weight.dtype == dtype_of<act>) {
      result.push_back(static_cast<const act*>(weight.data));
    } else {
      copies.push_back(context.scratch().take<act>(n));
      others.push_back(weight);
      result.push_back(copies.back());
    }
  }
  for_members(others.size(), [&](int64_t first, int64_t count) {
    Copies to{};
    std::copy_n(copies.begin() + first, count, to.to);
    const int64_t blocks = std::min<int64_t>(kBlocks, (n + kThreads - 1) / kThreads);
    GPU_LAUNCH(context, convert_kernel, dim3(blocks, count), dim3(kThreads), 0, to,
               WeightList::of(others, first, count), n);
  });
  return result;
}

}  // namespace bts::cuda::BTS_PRECISION
