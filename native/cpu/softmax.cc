#include "columns.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SoftmaxForward& op) {
  const auto [x, y, L, M, R] = op;
  for_columns(pool_, L, M, R, [&](int64_t i, auto lanes) {
    vfloat top = lanes.load(x, i), sum{};
    for (int64_t m = 1; m < M; m++) top = max(top, lanes.load(x, i + m * R));
    for (int64_t m = 0; m < M; m++) {
      const vfloat term = exp(lanes.load(x, i + m * R) - top);
      lanes.store(y, i + m * R, term);
      sum += term;
    }
    for (int64_t m = 0; m < M; m++) lanes.store(y, i + m * R, lanes.load(y, i + m * R) / sum);
  });
}

void CpuOps::run(const SoftmaxBackward& op) {
  const auto [dy, y, dx, L, M, R] = op;
  for_columns(pool_, L, M, R, [&](int64_t i, auto lanes) {
    vfloat centre{};
    for (int64_t m = 0; m < M; m++) centre += lanes.load(y, i + m * R) * lanes.load(dy, i + m * R);
    for (int64_t m = 0; m < M; m++)
      lanes.store(dx, i + m * R, lanes.load(y, i + m * R) * (lanes.load(dy, i + m * R) - centre));
  });
}

}  // namespace bts::cpu::BTS_ISA
