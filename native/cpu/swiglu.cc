#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SwigluForward& op) {
  const auto [gate, up, y, n] = op;
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end,
                [&](int64_t i, auto lanes) { lanes.store(y, i, swiglu<Math>(lanes.load(gate, i), lanes.load(up, i))); });
  });
}

void CpuOps::run(const SwigluBackward& op) {
  const auto [dy, gate, up, dgate, dup, n] = op;
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) {
      const vfloat g = lanes.load(gate, i), u = lanes.load(up, i), d = lanes.load(dy, i);
      const vfloat s = 1 / (1 + exp(-g));
      lanes.store(dgate, i, swiglu_dgate(d, g, u, s));
      lanes.store(dup, i, d * g * s);
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
