#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void concat_kernel(act* y, const act* a, const act* b, int64_t I, int64_t J, int64_t packs) {
  using Piece = Pack<act, width>;
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const int64_t r = i * width / (I + J), c = i * width % (I + J);
    const act* from = c < I ? a + r * I + c : b + r * J + c - I;
    *reinterpret_cast<Piece*>(y + i * width) = *reinterpret_cast<const Piece*>(from);
  }
}

}  // namespace

void CudaOps::run(const Concat& op) {
  const auto [a, b, y, R, I, J] = op;
  with_width(I % kWide ? I : J, {y, a, b}, [&](auto width) {
    const int64_t packs = R * (I + J) / width;
    GPU_LAUNCH(context_, concat_kernel<width>, grid_for(context_, packs), kThreads, 0, y, a, b, I, J, packs);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
