#include "columns.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SumAxisForward& op) {
  const auto [x, y, scale, L, M, R] = op;
  for_columns(pool_, L, M, R, [&](int64_t i, auto lanes) {
    vfloat sum{};
    for (int64_t m = 0; m < M; m++) sum += lanes.load(x, i + m * R);
    lanes.store(y, i / (M * R) * R + i % R, scale * sum);
  });
}

void CpuOps::run(const SumAxisBackward& op) {
  const auto [dy, dx, scale, L, M, R] = op;
  for_columns(pool_, L, M, R, [&](int64_t i, auto lanes) {
    const vfloat d = scale * lanes.load(dy, i / (M * R) * R + i % R);
    for (int64_t m = 0; m < M; m++) lanes.store(dx, i + m * R, d);
  });
}

}  // namespace bts::cpu::BTS_ISA
