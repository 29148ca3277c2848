#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void swap_axes_kernel(act* y, const act* x, int64_t I, int64_t J, int64_t C, int64_t packs) {
  using Piece = Pack<act, width>;
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const int64_t row = i * width / C, c = i * width % C;
    *reinterpret_cast<Piece*>(y + i * width) = *reinterpret_cast<const Piece*>(x + (row % I * J + row / I) * C + c);
  }
}

}  // namespace

void CudaOps::run(const SwapAxes& op) {
  const auto [x, y, I, J, C] = op;
  with_width(C, {y, x}, [&](auto width) {
    const int64_t packs = I * J * C / width;
    GPU_LAUNCH(context_, swap_axes_kernel<width>, grid_for(context_, packs), kThreads, 0, y, x, I, J, C, packs);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
