#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void add_scaled_kernel(float* y, const float* x, float scale, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) y[i] = fmaf(scale, x[i], y[i]);
}

}  // namespace

void CudaOps::run(const AddScaled& op) {
  const auto [x, y, scale, n] = op;
  GPU_LAUNCH(context_, add_scaled_kernel, grid_for(context_, n), kThreads, 0, y, x, scale, n);
}

}  // namespace bts::cuda::BTS_PRECISION
