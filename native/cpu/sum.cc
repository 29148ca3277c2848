#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

void CpuOps::run(const SumForward& op) {
  const auto [x, y, scale, N] = op;
  scratch_.reset();
  const int64_t chunks = (N + kChunk - 1) / kChunk;
  auto* partial = reinterpret_cast<double*>(scratch_.floats(2 * chunks));
  for_chunks(pool_, N, 1, [&](int64_t begin, int64_t end) {
    Sum sum;
    for_vectors(begin, end, [&](int64_t i, auto lanes) { sum.add(lanes.load(x, i)); });
    partial[begin / kChunk] = sum.total();
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
  y[0] = float(scale * sum);
}

// forward: y = scale * sum of x
void CpuOps::run(const SumBackward& op) { run(Fill{.y = op.dx, .value = op.scale * op.dy[0], .n = op.N}); }

}  // namespace bts::cpu::BTS_ISA
