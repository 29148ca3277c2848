#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SigmoidForward& op) {
  const auto [x, y, n] = op;
  for_elements(pool_, n, [&](int64_t i, auto lanes) { lanes.store(y, i, sigmoid<Math>(lanes.load(x, i))); });
}

void CpuOps::run(const SigmoidBackward& op) {
  const auto [dy, y, dx, n] = op;
  for_elements(pool_, n,
               [&](int64_t i, auto lanes) { lanes.store(dx, i, sigmoid_dx(lanes.load(dy, i), lanes.load(y, i))); });
}

}  // namespace bts::cpu::BTS_ISA
