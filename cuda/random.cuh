// Random bits as a pure function of (seed, index), the same as those of the CPU backend (native/cpu/random.h):
// Philox4x32-10, seed as key, (block, 0) as counter; element i owns word i % 4 of block i / 4.
#pragma once

#include "gpu.cuh"

namespace bts::cuda {

struct RandomWords {
  uint32_t words[4];
};

__device__ __forceinline__ RandomWords random_words(uint64_t seed, uint64_t block) {
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

// Dropout as kernels take it: the arithmetic of the rate is done once, on the host.
struct Dropping {
  uint64_t seed;
  uint64_t below;  // a word below this drops its element
  float scale;     // of what is kept

  explicit Dropping(const Dropout& dropout)
      : seed(dropout.seed), below(uint64_t(double(dropout.rate) * 0x1p32)), scale(1 / (1 - dropout.rate)) {}

  // x as dropout leaves it, given the element's word. A dropped one is multiplied with 0, so that it stays NaN if it was.
  __device__ __forceinline__ float apply_word(float x, uint32_t word) const { return x * (word < below ? 0.0f : scale); }
  __device__ __forceinline__ float apply(float x, uint64_t index) const {
    if (below == 0) return x;
    const RandomWords block = random_words(seed, index / 4);
    const uint32_t low = index & 1 ? block.words[1] : block.words[0], high = index & 1 ? block.words[3] : block.words[2];
    return apply_word(x, index & 2 ? high : low);
  }
};

}  // namespace bts::cuda
