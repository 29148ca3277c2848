#include <algorithm>
#include <cmath>
#include <numbers>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const FillNormal& op) {
  const auto [y, deviation, seed, n] = op;
  static_assert(kChunk % 4 == 0, "a chunk starts with a block of random words");
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += 4) {
      const auto [words] = random_words(seed, i / 4);
      // Box and Muller (1958) make two deviates of two words; in f64, so that the tails are those of 32 bits.
      for (int64_t k = 0; k < std::min<int64_t>(4, end - i); k += 2) {
        const double radius = deviation * std::sqrt(-2 * std::log((words[k] + 1.0) * 0x1p-32));
        const double angle = 2 * std::numbers::pi * 0x1p-32 * words[k + 1];
        y[i + k] = float(radius * std::cos(angle));
        if (i + k + 1 < end) y[i + k + 1] = float(radius * std::sin(angle));
      }
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
