#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void softcap_kernel(act* y, const act* x, float cap, int64_t packs) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float v[width];
    load(v, x + i * width);
    for (int k = 0; k < width; k++) v[k] = capped<Math>(v[k], cap);
    store(y + i * width, v);
  }
}

}  // namespace

void CudaOps::run(const Softcap& op) {
  const auto [x, y, cap, n] = op;
  with_width(n, {y, x}, [&](auto width) {
    GPU_LAUNCH(context_, softcap_kernel<width>, grid_for(context_, n / width), kThreads, 0, y, x, cap, n / width);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
