#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const Concat& op) {
  const auto [a, b, y, R, I, J] = op;
  for_chunks(pool_, R, I + J, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      float* row = std::copy_n(a + r * I, I, y + r * (I + J));
      std::copy_n(b + r * J, J, row);
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
