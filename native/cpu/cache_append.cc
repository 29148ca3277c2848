#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const CacheAppend& op) {
  const auto [x, cache, pages, starts, M, B, T, S, K, D] = op;
  const int64_t width = K * D;
  for_chunks(pool_, M * B * T, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t sequence = row / T;
      const int64_t slot = slot_of(pages, sequence, S, starts[sequence % B] + row % T);
      if (slot >= 0) std::copy_n(x + row * width, width, cache + slot * width);
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
