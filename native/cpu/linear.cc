#include <vector>

#include "cpu_ops.h"
#include "gemm/gemm.h"
#include "gemm/gemv.h"

namespace bts::cpu::BTS_ISA {

int64_t CpuOps::least_rows(bool alone) const { return alone ? 1 : kStreamRows + 1; }

void CpuOps::run(const LinearForward& op) {
  const auto& [x, weight, bias, residual, y, N, I, O, alone] = op;
  scratch_.reset();
  std::vector<Product> products;
  for (size_t m = 0; m < weight.size(); m++)
    products.push_back({.a = row_major(x + m * N * I, I),
                        .b = {weight[m], 1, I},
                        .c = y + m * N * O,
                        .c_stride = O,
                        .rows = N,
                        .cols = O,
                        .depth = I,
                        .bias = bias.empty() ? nullptr : &bias[m],
                        .residual = residual ? residual + m * N * O : nullptr,
                        .alone = alone});
  multiply(products, precision_, pool_, scratch_);
}

// forward: y = x W^T
void CpuOps::run(const LinearBackwardInput& op) {
  const auto& [dy, weight, dx, N, I, O, accumulate] = op;
  scratch_.reset();
  std::vector<Product> products;
  for (size_t m = 0; m < weight.size(); m++)
    products.push_back({.a = row_major(dy + m * N * O, O),
                        .b = {weight[m], I, 1},
                        .c = dx + m * N * I,
                        .c_stride = I,
                        .rows = N,
                        .cols = I,
                        .depth = O,
                        .accumulate = accumulate});
  multiply(products, precision_, pool_, scratch_);
}

// forward: y = x W^T + bias
void CpuOps::run(const LinearBackwardWeight& op) {
  const auto& [dy, x, dweight, dbias, N, I, O] = op;
  scratch_.reset();
  std::vector<Product> products;
  for (size_t m = 0; m < dweight.size(); m++)
    products.push_back({.a = transposed(dy + m * N * O, O),
                        .b = row_major(x + m * N * I, I),
                        .c = dweight[m],
                        .c_stride = I,
                        .rows = O,
                        .cols = I,
                        .depth = N,
                        .accumulate = true});
  multiply(products, precision_, pool_, scratch_);
  for (size_t m = 0; m < dbias.size(); m++) {
    const float* rows = dy + m * N * O;
    for (int64_t n = 0; n < N; n++)
      for (int64_t o = 0; o < O; o++) dbias[m][o] += rows[n * O + o];
  }
}

}  // namespace bts::cpu::BTS_ISA
