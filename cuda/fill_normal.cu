#include "../native/random.h"
#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// Box and Muller (1958) make two deviates of two words; in f64, so that the tails are those of 32 bits.
__global__ void fill_normal_kernel(float* y, float deviation, uint64_t seed, int64_t n) {
  for (int64_t block = grid_thread(); block * 4 < n; block += grid_threads()) {
    const RandomWords random = random_words(seed, block);
    for (int k = 0; k < 4; k += 2) {
      const int64_t i = block * 4 + k;
      const double radius = deviation * sqrt(-2 * log((random.words[k] + 1.0) * 0x1p-32));
      const double angle = 2 * 3.141592653589793 * 0x1p-32 * random.words[k + 1];
      if (i < n) y[i] = float(radius * cos(angle));
      if (i + 1 < n) y[i + 1] = float(radius * sin(angle));
    }
  }
}

}  // namespace

void CudaOps::run(const FillNormal& op) {
  const auto [y, deviation, seed, n] = op;
  GPU_LAUNCH(context_, fill_normal_kernel, grid_for(context_, (n + 3) / 4), kThreads, 0, y, deviation, seed, n);
}

}  // namespace bts::cuda::BTS_PRECISION
