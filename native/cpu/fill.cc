#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const Fill& op) {
  const auto [y, value, n] = op;
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
}

}  // namespace bts::cpu::BTS_ISA
