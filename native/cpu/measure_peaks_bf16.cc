#include "gemm/pairs.h"
#include "measure_peaks.h"

namespace bts::cpu::BTS_ISA {

float multiply_add_pairs(int64_t steps) {
  vfloat sums[kChains] = {};
  const vpair factor = narrow(splat(0.999f), splat(0.999f)), term = narrow(splat(0.001f), splat(0.001f));
  for (int64_t step = 0; step < steps; step++) {
#pragma GCC unroll 16
    for (int i = 0; i < kChains; i++) sums[i] = multiply_add(factor, term, sums[i]);
  }
  vfloat total{};
  for (const vfloat sum : sums) total += sum;
  return reduce_add(total);
}

}  // namespace bts::cpu::BTS_ISA
