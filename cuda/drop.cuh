// Dropout of single elements, each of which draws its own word.
#pragma once

#include "../native/ops/dropout.h"
#include "gpu.cuh"

namespace bts::cuda {

__device__ __forceinline__ float drop(const Dropping& dropping, float x, uint64_t index) {
  if (dropping.below == 0) return x;
  index += dropping.first;
  const auto [words] = random_words(dropping.seed, index / 4);
  const uint32_t low = index & 1 ? words[1] : words[0], high = index & 1 ? words[3] : words[2];
  return dropping.apply(x, index & 2 ? high : low);
}

}  // namespace bts::cuda
