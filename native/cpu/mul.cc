#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const MulForward& op) {
  const auto [a, b, y, R, C, G] = op;
  if (G == C)
    return for_elements(pool_, R * C,
                        [&](int64_t i, auto lanes) { lanes.store(y, i, lanes.load(a, i) * lanes.load(b, i)); });
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++)
      for_vectors(r * C, (r + 1) * C, [&](int64_t i, auto lanes) { lanes.store(y, i, lanes.load(a, i) * b[r]); });
  });
}

void CpuOps::run(const MulBackward& op) {
  const auto [dy, a, b, da, db, R, C, G] = op;
  if (G == C)
    return for_elements(pool_, R * C, [&](int64_t i, auto lanes) {
      const vfloat d = lanes.load(dy, i), x = lanes.load(a, i), factor = lanes.load(b, i);
      if (da) lanes.store(da, i, d * factor);
      if (db) lanes.store(db, i, d * x);
    });
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      Sum sum;
      for_vectors(r * C, (r + 1) * C, [&](int64_t i, auto lanes) {
        const vfloat d = lanes.load(dy, i);
        sum.add_product(d, lanes.load(a, i));
        if (da) lanes.store(da, i, d * b[r]);
      });
      if (db) db[r] = float(sum.total());
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
