#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::rope(float* y, const float* x, Weights table, const int32_t* starts, int64_t B, int64_t T, int64_t H,
                  int64_t D, int64_t R, bool inverse) {
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
            const vfloat first = lanes.load(a, i), second = lanes.load(b, i);
            lanes.store(y + head * D, i, first * cosine - second * sine);
            lanes.store(y + head * D + half, i, second * cosine + first * sine);
          });
          if (y != x) std::copy_n(a + R, D - R, y + head * D + R);
        }
      });
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
