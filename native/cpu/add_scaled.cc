#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const AddScaled& op) {
  const auto [x, y, scale, n] = op;
  for_elements(pool_, n,
               [&](int64_t i, auto lanes) { lanes.store(y, i, lanes.load(y, i) + scale * lanes.load(x, i)); });
}

}  // namespace bts::cpu::BTS_ISA
