#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const Rope& op) {
  const auto& [x, table, starts, y, B, T, H, D, R, inverse] = op;
  const int64_t half = R / 2;
  const float direction = inverse ? -1.0f : 1.0f;
  for_chunks(pool_, std::ssize(table) * B * T, H * D, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t b = row / T % B, position = (starts ? starts[b] : 0) + row % T;
      with_reader(table[row / (B * T)], [&](auto angles) {
        for (int64_t head = row * H; head < (row + 1) * H; head++) {
          const float *a = x + head * D, *b = a + half;
          for_vectors(0, half, [&](int64_t i, auto lanes) {
            const vfloat cosine = lanes.read(angles, position * R + i);
            const vfloat sine = direction * lanes.read(angles, position * R + half + i);
            const vfloat low = lanes.load(a, i), high = lanes.load(b, i);
            lanes.store(y + head * D, i, turned_low(low, high, cosine, sine));
            lanes.store(y + head * D + half, i, turned_high(low, high, cosine, sine));
          });
          if (y != x) std::copy_n(a + R, D - R, y + head * D + R);
        }
      });
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
