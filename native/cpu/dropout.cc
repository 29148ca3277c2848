#include "chunks.h"
#include "cpu_ops.h"
#include "drop.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const Dropout& op) {
  const auto [x, y, dropping, n] = op;
  for_chunks(pool_, n, 1,
             [&](int64_t begin, int64_t end) { drop(y + begin, x + begin, dropping, begin, end - begin); });
}

}  // namespace bts::cpu::BTS_ISA
