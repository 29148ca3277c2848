#include "activation.h"
#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SwigluForward& op) {
  const auto [gate, up, y, n, activation] = op;
  with_activation(activation, [&](auto act) {
    for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t i, auto lanes) {
        lanes.store(y, i, act.value(lanes.load(gate, i)) * lanes.load(up, i));
      });
    });
  });
}

void CpuOps::run(const SwigluBackward& op) {
  const auto [dy, gate, up, dgate, dup, n, activation] = op;
  with_activation(activation, [&](auto act) {
    for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
      for_vectors(begin, end, [&](int64_t i, auto lanes) {
        const vfloat g = lanes.load(gate, i), u = lanes.load(up, i), d = lanes.load(dy, i);
        lanes.store(dgate, i, act.times_slope(d * u, g));
        lanes.store(dup, i, d * act.value(g));
      });
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
