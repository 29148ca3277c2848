#include <algorithm>
#include <vector>

#include "../quantized.h"
#include "../runs.h"
#include "activation.h"
#include "cpu_ops.h"
#include "gemm/gemm.h"
#include "gemm/gemv.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Both products of a part this large stay in the second-level cache until they meet.
constexpr int64_t kRowBlock = 40 * kMR;
constexpr int64_t kColBlock = 4 * kNR;
// Where weights stream past a few rows instead, a stream gains by not being interrupted; each thread gets this many parts.
constexpr int64_t kStreamsPerThread = 4;
constexpr int64_t kLongestStream = 32 * kNR;

int64_t columns_at_once(int64_t columns, int64_t streams, int threads) {
  const int64_t share = round_up(streams * columns / (kStreamsPerThread * threads), kNR);
  return std::clamp(share, int64_t{kNR}, kLongestStream);
}

// Rows, from `row` on, of a weight or a bias.
Weight from_row(const Weight& weight, int64_t row, int64_t width) {
  return {static_cast<const char*>(weight.data) + bytes_of(weight.dtype, row, width), weight.dtype};
}

}  // namespace

void CpuOps::run(const SwigluLinear& op) {
  const auto& [x, gate, up, gate_bias, up_bias, y, N, C, F, activation, alone] = op;
  const bool streams = alone || N <= kStreamRows;
  scratch_.reset();
  const auto shared = runs(std::ssize(gate), std::ssize(gate), {gate, up, gate_bias, up_bias});
  const int64_t col_block = streams ? columns_at_once(F, std::ssize(shared), pool_.threads()) : kColBlock;
  struct Part {
    int64_t member, row, rows, col;
    Matrix left;
  };
  std::vector<Part> parts;
  int64_t most_rows = 0;
  for (const auto [m, count] : shared) {
    const Product whole{.a = row_major(x + m * N * C, C),
                        .b = {gate[m], 1, row_stride(gate[m].dtype, C)},
                        .c = nullptr,
                        .c_stride = F,
                        .rows = count * N,
                        .cols = F,
                        .depth = C,
                        .alone = streams};
    const Matrix left = rounded_left(whole, precision_, pool_, scratch_);
    for (int64_t row = 0; row < whole.rows; row += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, whole.rows - row);
      most_rows = std::max(most_rows, rows);
      for (int64_t col = 0; col < F; col += col_block) parts.push_back({m, row, rows, col, left});
    }
  }
  const int64_t part = most_rows * col_block, own = 2 * part + workspace_floats();
  float* memory = scratch_.floats(own * pool_.threads());
  pool_.parallel_for(std::ssize(parts), [&](int64_t task, int worker) {
    const auto& [m, row, rows, col, left] = parts[task];
    const int64_t cols = std::min(col_block, F - col);
    float *gated = memory + worker * own, *upper = gated + part, *workspace = upper + part;
    const auto multiply = [&](float* z, const Weight& weight, Weights biases) {
      const Weight bias = biases.empty() ? Weight{} : from_row(biases[m], col, 1);
      const Product product{.a = {from_row(left.storage, row, left.row_stride), left.row_stride, 1},
                            .b = {from_row(weight, col, C), 1, row_stride(weight.dtype, C)},
                            .c = z,
                            .c_stride = cols,
                            .rows = rows,
                            .cols = cols,
                            .depth = C,
                            .bias = biases.empty() ? nullptr : &bias};
      // As linear_forward does for N rows, so that both agree to the last bit.
      if (streams) stream_product(product, 0, cols);
      else multiply_alone(product, precision_, workspace);
    };
    multiply(gated, gate[m], gate_bias);
    multiply(upper, up[m], up_bias);
    with_activation(activation, [&](auto act) {
      for (int64_t i = 0; i < rows; i++) {
        float* to = y + (m * N + row + i) * F + col;
        for_vectors(0, cols, [&](int64_t j, auto lanes) {
          lanes.store(to, j, act.value(lanes.load(gated + i * cols, j)) * lanes.load(upper + i * cols, j));
        });
      }
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
