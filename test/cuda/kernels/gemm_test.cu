// out (+)= sum over segments of A B^T, in the three layouts that a linear layer needs, odd sizes included.
#include "check.h"
#include "gemm/gemm.cuh"

namespace bts::check {

namespace {

using namespace cuda;

// Element (r, k) of an operand of `extent` rows.
template <Depth L>
int64_t at(int r, int k, int extent, int depth) {
  return L == Depth::Inner ? int64_t{r} * depth + k : int64_t{k} * extent + r;
}

template <class Out, Depth LA, Depth LB>
void product(const char* layout, int groups, int rows, int cols, int depth, int segments, bool accumulate) {
  const std::string name = std::string("gemm " BTS_PRECISION_NAME) + layout + " groups " + std::to_string(groups) +
                           " x " + std::to_string(segments) + ", " + std::to_string(rows) + " x " +
                           std::to_string(cols) + " x " + std::to_string(depth);
  if (!wanted(name, double(groups) * segments * rows * cols * depth)) return;
  const auto bias = numbers<float>(cols, 5), start = numbers<Out>(int64_t{groups} * rows * cols, 6),
             residual = numbers<act>(int64_t{groups} * rows * cols, 7);
  constexpr bool extras = LA == Depth::Inner;  // forward and input gradients; weight gradients only accumulate
  Device<float> device_bias(bias);
  Device<Out> out(start);
  Device<act> device_residual(residual);
  std::vector<Device<act>> keep;
  std::vector<double> exact(start.size());
  std::vector<float> plain(start.size());
  Gemm<act, Out> gemm(rows, cols);
  for (int g = 0; g < groups; g++) {
    Out* const result = out.get() + int64_t{g} * rows * cols;
    auto& group = accumulate ? gemm.accumulate(result) : gemm.group(result);
    if constexpr (extras) {
      group.bias = {device_bias.get(), DType::F32};
      if (!accumulate) group.residual = device_residual.get() + int64_t{g} * rows * cols;
    }
    std::vector<double> sum(int64_t{rows} * cols);
    std::vector<float> sum32(sum.size());
    for (int s = 0; s < segments; s++) {
      const auto a = numbers<act>(int64_t{rows} * depth, g * 100 + s * 10 + 1),
                 b = numbers<act>(int64_t{cols} * depth, g * 100 + s * 10 + 2);
      keep.emplace_back(a);
      keep.emplace_back(b);
      gemm.add({keep[keep.size() - 2].get(), LA == Depth::Inner ? depth : rows},
               {keep.back().get(), LB == Depth::Inner ? depth : cols}, depth);
      for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++)
          for (int k = 0; k < depth; k++) {
            const float x = a[at<LA>(r, k, rows, depth)], y = b[at<LB>(c, k, cols, depth)];
            sum[int64_t{r} * cols + c] += double{x} * y;
            sum32[int64_t{r} * cols + c] += x * y;
          }
    }
    for (int64_t i = 0; i < int64_t{rows} * cols; i++) {
      const int64_t o = int64_t{g} * rows * cols + i;
      const float added = accumulate ? start[o] : extras ? residual[o] : 0, shift = extras ? bias[i % cols] : 0;
      exact[o] = sum[i] + added + shift;
      plain[o] = rounded<Out>(sum32[i] + added + shift);
    }
  }
  launch_gemm<LA, LB>(context(), gemm);
  compare<Out>(name, out.read(), plain, exact);
}

void layouts(int groups, int rows, int cols, int depth, int segments) {
  product<act, Depth::Inner, Depth::Inner>("forward", groups, rows, cols, depth, segments, false);
  product<act, Depth::Inner, Depth::Outer>("input", groups, rows, cols, depth, segments, segments > 1);
  product<float, Depth::Outer, Depth::Outer>("weight", groups, rows, cols, depth, segments, true);
}

void run() {
  for (const int size : {1, 31, 33, 123}) layouts(2, size, 33, size, 1);
  for (int groups = 1; groups <= 5; groups++) layouts(groups, 40, 72, 64, groups);
  layouts(2, 136, 264, 200, 1);  // several large tiles for each block of the persistent grid
  layouts(1, 1200, 16, 24, 1);   // more rows of tiles than a band
}

const Family family(run);

}  // namespace

}  // namespace bts::check
