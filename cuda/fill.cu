#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void fill_kernel(float* y, float value, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) y[i] = value;
}

}  // namespace

void CudaOps::run(const Fill& op) {
  const auto [y, value, n] = op;
  GPU_LAUNCH(context_, fill_kernel, grid_for(context_, n), kThreads, 0, y, value, n);
}

}  // namespace bts::cuda::BTS_PRECISION
