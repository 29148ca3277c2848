#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const LerpForward& op) {
  const auto [a, b, g, y, R, C, G] = op;
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++)
      for_vectors(r * C, (r + 1) * C, [&](int64_t i, auto lanes) {
        const vfloat from = lanes.load(a, i), gate = G == C ? lanes.load(g, i) : splat(g[r]);
        lanes.store(y, i, from + gate * (lanes.load(b, i) - from));
      });
  });
}

void CpuOps::run(const LerpBackward& op) {
  const auto [dy, a, b, g, da, db, dg, R, C, G] = op;
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      Sum sum;
      for_vectors(r * C, (r + 1) * C, [&](int64_t i, auto lanes) {
        const vfloat d = lanes.load(dy, i), gate = G == C ? lanes.load(g, i) : splat(g[r]);
        const vfloat apart = lanes.load(b, i) - lanes.load(a, i);
        if (G == C) lanes.store(dg, i, d * apart);
        else sum.add_product(d, apart);
        lanes.store(da, i, d - gate * d);
        lanes.store(db, i, gate * d);
      });
      if (G != C) dg[r] = float(sum.total());
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
