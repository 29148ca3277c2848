#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void add_kernel(act* y, const act* a, const act* b, int64_t packs) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float left[width], right[width];
    load(left, a + i * width);
    load(right, b + i * width);
    for (int k = 0; k < width; k++) left[k] += right[k];
    store(y + i * width, left);
  }
}

}  // namespace

void CudaOps::run(const Add& op) {
  const auto [a, b, y, n] = op;
  with_width(n, {y, a, b}, [&](auto width) {
    GPU_LAUNCH(context_, add_kernel<width>, grid_for(context_, n / width), kThreads, 0, y, a, b, n / width);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
