#include <algorithm>
#include <cmath>

#include "arrays.h"
#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

// n parameters. Compilers vectorise this loop as it stands, given that the four arrays are apart.
void update(float* __restrict p, float* __restrict m, float* __restrict v, const float* __restrict gradient, int64_t n,
            const AdamWStep step, float clip) {
  for (int64_t i = 0; i < n; i++) adamw_update<Math>(p[i], m[i], v[i], clip * gradient[i], step);
}

}  // namespace

void CpuOps::run(const AdamW& op) {
  const float norm = op.norm[0];
  if (!std::isfinite(norm)) return;
  const float clip = float(std::min(1.0, op.clip_norm / (norm + 1e-6)));
  const AdamWStep step(op);
  const Sequence sequence(op.parameters);
  for_chunks(pool_, sequence.size(), 1, [&](int64_t from, int64_t to) {
    sequence.for_pieces(from, to, [&](size_t array, int64_t begin, int64_t end) {
      update(op.parameters[array].data + begin, op.first_moments[array].data + begin,
             op.second_moments[array].data + begin, op.gradients[array].data + begin, end - begin, step, clip);
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
