// Random bits as a pure function of (seed, index): any element can be drawn alone, in any order, on any device.
// Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): the seed is
// the key, the counter (block, 0) gives four words, and element i owns word i % 4 of block i / 4.
#pragma once

#include <cstdint>

#include "host_device.h"

namespace bts {

struct RandomWords {
  uint32_t words[4];
};

HOST_DEVICE RandomWords random_words(uint64_t seed, uint64_t block) {
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
  return {{a, b, c, d}};
}

}  // namespace bts
