// Random bits as a pure function of (seed, index): any element can be drawn alone, in any order, on any device.
// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): the seed is
// the key, the counter (block, 0) gives four words, and element i owns word i % 4 of block i / 4.
#pragma once

#include <array>
#include <cstdint>

#include "../ops.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

inline std::array<uint32_t, 4> random_words(uint64_t seed, uint64_t block) {
  uint32_t a = uint32_t(block), b = uint32_t(block >> 32), c = 0, d = 0;
  uint32_t key0 = uint32_t(seed), key1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t first = uint64_t(a) * 0xD2511F53u, second = uint64_t(c) * 0xCD9E8D57u;
    a = uint32_t(second >> 32) ^ b ^ key0;
    b = uint32_t(second);
    c = uint32_t(first >> 32) ^ d ^ key1;
    d = uint32_t(first);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return {a, b, c, d};
}

// A word below this drops its element: rate 0 keeps all, rate 1 none.
inline uint64_t drop_below(const Dropout& dropout) { return uint64_t(double(dropout.rate) * 0x1p32); }

// What a kept element is multiplied with.
inline float scale_of(const Dropout& dropout) { return 1 / (1 - dropout.rate); }

// y = dropout(x) for the n elements from index `first` on; also the gradient, with dy for x. y may be x.
// A dropped element is multiplied with 0, so that it stays NaN if it was.
inline void drop(float* y, const float* x, const Dropout& dropout, uint64_t first, int64_t n) {
  const uint64_t below = drop_below(dropout);
  const float scale = scale_of(dropout);
  for (int64_t i = 0; i < n;) {
    const auto words = random_words(dropout.seed, (first + i) / 4);
    for (uint64_t word = (first + i) % 4; word < 4 && i < n; word++, i++)
      y[i] = x[i] * (words[word] < below ? 0 : scale);
  }
}

}  // namespace bts::cpu::BTS_ISA
