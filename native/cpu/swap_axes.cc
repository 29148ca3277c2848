#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SwapAxes& op) {
  const auto [x, y, I, J, C] = op;
  for_chunks(pool_, I * J, C, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) std::copy_n(x + (row % I * J + row / I) * C, C, y + row * C);
  });
}

}  // namespace bts::cpu::BTS_ISA
