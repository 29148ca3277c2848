#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const Softcap& op) {
  const auto [x, y, cap, n] = op;
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) { lanes.store(y, i, capped<Math>(lanes.load(x, i), cap)); });
  });
}

}  // namespace bts::cpu::BTS_ISA
