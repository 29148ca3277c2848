// Linear layers of all members in one launch.
#include <vector>

#include "column_sums.h"
#include "gemm.cuh"
#include "gemv.h"
#include "members.cuh"
#include "operands.h"

namespace bts::cuda::BTS_PRECISION {

// y_m = x_m W_m^T (+ bias_m) (+ residual_m)      y, residual [M,N,O]  x [M,N,I]  W M x [O,I]
void CudaOps::linear_forward(act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N,
                             int64_t I, int64_t O) {
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

// dx_m (+)= dy_m W_m      dx [M,N,I]  dy [M,N,O]
void CudaOps::linear_backward_input(act* dx, const act* dy, Weights weight, int64_t N, int64_t I, int64_t O,
                                    bool accumulate) {
  context_.scratch().reset();
  const auto w = operands(context_, weight, I * O);
  for_members(w.size(), [&](int64_t first, int64_t count) {
    Gemm<act, act> gemm(N, I, accumulate);
    for (int64_t m = first; m < first + count; m++) {
      gemm.group(dx + m * N * I);
      gemm.add({dy + m * N * O, O}, {w[m], I}, O);
    }
    launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
  });
}

// dW_m += dy_m^T x_m    dbias_m += sum over n of dy_m
void CudaOps::linear_backward_weight(Gradients dweight, Gradients dbias, const act* dy, const act* x, int64_t N,
                                     int64_t I, int64_t O) {
  for_members(dweight.size(), [&](int64_t first, int64_t count) {
    Gemm<act, float> gemm(O, I, true);
    for (int64_t m = first; m < first + count; m++) {
      gemm.group(dweight[m]);
      gemm.add({dy + m * N * O, O}, {x + m * N * I, I}, N);
    }
    launch_gemm<Depth::Outer, Depth::Outer>(context_, gemm);
  });
  launch_column_sums(context_, dbias, dy, N, O, O, N * O);
}

}  // namespace bts::cuda::BTS_PRECISION
