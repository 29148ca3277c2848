#pragma once

#include "../ops/dropout.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

// y = dropout(x) for the n elements from index `begin` on; also the gradient, with dy for x. y may be x.
inline void drop(float* y, const float* x, const Dropping& dropping, uint64_t begin, int64_t n) {
  const uint64_t first = dropping.first + begin;
  for (int64_t i = 0; i < n;) {
    const auto random = random_words(dropping.seed, (first + i) / 4);
    for (uint64_t word = (first + i) % 4; word < 4 && i < n; word++, i++)
      y[i] = dropping.apply(x[i], random.words[word]);
  }
}

}  // namespace bts::cpu::BTS_ISA
