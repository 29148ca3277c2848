#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const GatherRows& op) {
  const auto [x, rows, y, R, C] = op;
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) std::copy_n(x + rows[r] * C, C, y + r * C);
  });
}

}  // namespace bts::cpu::BTS_ISA
