#include "cuda_ops.h"
#include "drop.cuh"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void dropout_kernel(act* y, const act* x, Dropping dropping, int64_t n) {
  const int64_t shift = dropping.first % 4;
  for (int64_t block = grid_thread(); block * 4 < n + shift; block += grid_threads()) {
    const RandomWords random = random_words(dropping.seed, dropping.first / 4 + block);
    for (int k = 0; k < 4; k++) {
      const int64_t i = block * 4 + k - shift;
      if (i >= 0 && i < n) y[i] = from_float<act>(dropping.apply(to_float(x[i]), random.words[k]));
    }
  }
}

}  // namespace

void CudaOps::run(const Dropout& op) {
  const auto [x, y, dropping, n] = op;
  GPU_LAUNCH(context_, dropout_kernel, grid_for(context_, (n + dropping.first % 4 + 3) / 4), kThreads, 0, y, x,
             dropping, n);
}

}  // namespace bts::cuda::BTS_PRECISION
