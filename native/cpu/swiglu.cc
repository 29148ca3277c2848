#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::swiglu_forward(float* y, const float* gate, const float* up, int64_t n) {
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) {
      const vfloat g = lanes.load(gate, i);
      lanes.store(y, i, g / (1 + exp(-g)) * lanes.load(up, i));
    });
  });
}

void CpuOps::swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                             int64_t n) {
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) {
      // y = g s u with s = 1 / (1 + exp(-g)), s' = s (1 - s)
      const vfloat g = lanes.load(gate, i), u = lanes.load(up, i), d = lanes.load(dy, i);
      const vfloat s = 1 / (1 + exp(-g));
      lanes.store(dgate, i, d * u * s * (1 + g * (1 - s)));
      lanes.store(dup, i, d * g * s);
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
