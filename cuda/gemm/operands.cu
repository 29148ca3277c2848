#include "operands.h"

#include <algorithm>

#include "../../native/quantized.h"
#include "../members.cuh"
#include "../quantized.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <class To>
struct Copies {
  To* to[kMembers];
};

// to_m[i] = from_m[i]
template <int width>
__global__ void __launch_bounds__(kThreads) convert_kernel(const __grid_constant__ Copies<act> copies,
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

// The same of matrices in groups, which a thread reads in pieces of `width` neighbours: rows are whole pieces.
template <int width, class To>
__global__ void __launch_bounds__(kThreads) widen_kernel(const __grid_constant__ Copies<To> copies,
                                                         const __grid_constant__ WeightList from, int64_t rows,
                                                         int64_t cols) {
  const int m = blockIdx.y;
  with_groups(from[m], [&]<class Group>(const Group* groups) {
    const int64_t in_row = (cols + Group::kNumbers - 1) / Group::kNumbers;
    for (int64_t at = grid_thread() * width; at < rows * cols; at += grid_threads() * width) {
      const int64_t row = at / cols, col = at % cols;
      const Group& group = groups[row * in_row + col / Group::kNumbers];
      float x[width];
#pragma unroll
      for (int k = 0; k < width; k++) x[k] = widened(group, col % Group::kNumbers + k);
      store(copies.to[m] + at, x);
    }
  });
}

template <class To>
void launch_widen(Context& context, const Copies<To>& to, Weights from, int64_t rows, int64_t cols) {
  with_width(cols, {to.to[0]}, [&](auto width) {
    const dim3 grid(grid_for(context, rows * cols / width).x, from.size());
    GPU_LAUNCH(context, (widen_kernel<width, To>), grid, kThreads, 0, to, WeightList::of(from, 0, from.size()), rows,
               cols);
  });
}

}  // namespace

template <class To>
void widen_matrix(Context& context, To* to, const Weight& from, int64_t rows, int64_t cols) {
  launch_widen(context, Copies<To>{{to}}, {&from, 1}, rows, cols);
}
template void widen_matrix(Context&, float*, const Weight&, int64_t, int64_t);

std::vector<const act*> operands(Context& context, Weights weights, int64_t rows, int64_t cols) {
  const int64_t n = rows * cols;
  std::vector<const act*> result;
  std::vector<Weight> floats, grouped;
  std::vector<act*> to_floats, to_grouped;
  for (const Weight& weight : weights) {
    if (weight.dtype == dtype_of<act>) {
      result.push_back(static_cast<const act*>(weight.data));
      continue;
    }
    // Members that are adapters of one have their matrices in common.
    const auto same = std::ranges::find(weights.first(result.size()), weight.data, &Weight::data);
    if (same - weights.begin() < std::ssize(result)) {
      result.push_back(result[same - weights.begin()]);
      continue;
    }
    act* const copy = context.scratch().take<act>(n);
    const bool in_groups = is_quantized(weight.dtype);
    (in_groups ? grouped : floats).push_back(weight);
    (in_groups ? to_grouped : to_floats).push_back(copy);
    result.push_back(copy);
  }
  const auto copies = [](const std::vector<act*>& all, int64_t first, int64_t count) {
    Copies<act> to{};
    std::copy_n(all.begin() + first, count, to.to);
    return to;
  };
  for_members(floats.size(), [&](int64_t first, int64_t count) {
    const Weights group = Weights(floats).subspan(first, count);
    with_width(n, {}, group, [&](auto width) {
      const dim3 grid(grid_for(context, n / width).x, count);
      GPU_LAUNCH(context, convert_kernel<width>, grid, kThreads, 0, copies(to_floats, first, count),
                 WeightList::of(group, 0, count), n);
    });
  });
  for_members(grouped.size(), [&](int64_t first, int64_t count) {
    launch_widen(context, copies(to_grouped, first, count), Weights(grouped).subspan(first, count), rows, cols);
  });
  return result;
}

}  // namespace bts::cuda::BTS_PRECISION
