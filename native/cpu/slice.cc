#include <algorithm>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SliceForward& op) {
  const auto [x, y, first, R, I, J] = op;
  for_chunks(pool_, R, J, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) std::copy_n(x + r * I + first, J, y + r * J);
  });
}

void CpuOps::run(const SliceBackward& op) {
  const auto [dy, dx, first, R, I, J, accumulate] = op;
  for_chunks(pool_, R, I, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      const float* from = dy + r * J;
      float *row = dx + r * I, *to = row + first;
      if (!accumulate) {
        std::fill(row, to, 0.0f);
        std::copy_n(from, J, to);
        std::fill(to + J, row + I, 0.0f);
      } else {
        for_vectors(0, J, [&](int64_t j, auto lanes) { lanes.store(to, j, lanes.load(to, j) + lanes.load(from, j)); });
      }
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
