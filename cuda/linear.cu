// Linear layers of all members in one launch.
#include <vector>

#include "gemm/column_sums.h"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/operands.h"
#include "members.cuh"

namespace bts::cuda::BTS_PRECISION {

// Rows that are computed alone are no exception: few of them take as long as one, so that steps have as many.
int64_t CudaOps::least_rows(bool) const { return kGemvRows + 1; }

void CudaOps::run(const LinearForward& op) {
  const auto& [x, weight, bias, residual, y, N, I, O, _] = op;
  context_.scratch().reset();
  if (N <= kGemvRows) return launch_gemv(context_, y, x, weight, bias, residual, N, I, O);
  const auto w = operands(context_, weight, I * O);
  for_members(w.size(), [&](int64_t first, int64_t count) {
    Gemm<act, act> gemm(N, O);
    for (int64_t m = first; m < first + count; m++) {
      auto& group = gemm.group(y + m * N * O);
      if (!bias.empty()) group.bias = bias[m];
      if (residual) group.residual = residual + m * N * O;
      gemm.add({x + m * N * I, I}, {w[m], I}, I);
    }
    launch_gemm<Depth::Inner, Depth::Inner>(context_, gemm);
  });
}

// forward: y = x W^T
void CudaOps::run(const LinearBackwardInput& op) {
  const auto& [dy, weight, dx, N, I, O, accumulate] = op;
  context_.scratch().reset();
  const auto w = operands(context_, weight, I * O);
  for_members(w.size(), [&](int64_t first, int64_t count) {
    Gemm<act, act> gemm(N, I);
    for (int64_t m = first; m < first + count; m++) {
      act* const result = dx + m * N * I;
      accumulate ? gemm.accumulate(result) : gemm.group(result);
      gemm.add({dy + m * N * O, O}, {w[m], I}, O);
    }
    launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
  });
}

// forward: y = x W^T + bias
void CudaOps::run(const LinearBackwardWeight& op) {
  const auto& [dy, x, dweight, dbias, N, I, O] = op;
  for_members(dweight.size(), [&](int64_t first, int64_t count) {
    Gemm<act, float> gemm(O, I);
    for (int64_t m = first; m < first + count; m++) {
      gemm.accumulate(dweight[m]);
      gemm.add({dy + m * N * O, O}, {x + m * N * I, I}, N);
    }
    launch_gemm<Depth::Outer, Depth::Outer>(context_, gemm);
  });
  launch_column_sums(context_, dbias, dy, N, O, O, N * O);
}

}  // namespace bts::cuda::BTS_PRECISION
