#include "operands.h"

#include "../members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Copies {
  act* to[kMembers];
};

// to_m[i] = from_m[i]
template <int width>
__global__ void __launch_bounds__(kThreads) convert_kernel(const __grid_constant__ Copies copies,
                                                           const __grid_constant__ WeightList from, int64_t n) {
  const int m = blockIdx.y;
  with_elements(from, m, [&](auto* weight) {
    for (int64_t i = grid_thread() * width; i < n; i += grid_threads() * width) {
      float x[width];
      load(x, weight + i);
      store(copies.to[m] + i, x);
    }
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
    const Weights group = Weights(others).subspan(first, count);
    with_width(n, {}, group, [&](auto width) {
      const dim3 grid(grid_for(context, n / width).x, count);
      GPU_LAUNCH(context, convert_kernel<width>, grid, kThreads, 0, to, WeightList::of(group, 0, count), n);
    });
  });
  return result;
}

}  // namespace bts::cuda::BTS_PRECISION
