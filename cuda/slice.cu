#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void slice_forward_kernel(act* y, const act* x, int64_t first, int64_t I, int64_t J, int64_t packs) {
  using Piece = Pack<act, width>;
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const int64_t r = i * width / J, j = i * width % J;
    *reinterpret_cast<Piece*>(y + i * width) = *reinterpret_cast<const Piece*>(x + r * I + first + j);
  }
}

template <int width>
__global__ void slice_backward_kernel(act* dx, const act* dy, int64_t first, int64_t I, int64_t J, int64_t packs,
                                      bool accumulate) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    const int64_t r = i * width / I, j = i * width % I - first;
    const bool inside = j >= 0 && j < J;
    if (accumulate && !inside) continue;
    float d[width] = {};
    if (inside) load(d, dy + r * J + j);
    if (accumulate) {
      float before[width];
      load(before, dx + i * width);
      for (int k = 0; k < width; k++) d[k] += before[k];
    }
    store(dx + i * width, d);
  }
}

// One of the numbers that is no multiple of a wide access, if there is one.
int64_t narrowest(int64_t first, int64_t I, int64_t J) { return first % kWide ? first : I % kWide ? I : J; }

}  // namespace

void CudaOps::run(const SliceForward& op) {
  const auto [x, y, first, R, I, J] = op;
  with_width(narrowest(first, I, J), {y, x}, [&](auto width) {
    const int64_t packs = R * J / width;
    GPU_LAUNCH(context_, slice_forward_kernel<width>, grid_for(context_, packs), kThreads, 0, y, x, first, I, J, packs);
  });
}

void CudaOps::run(const SliceBackward& op) {
  const auto [dy, dx, first, R, I, J, accumulate] = op;
  with_width(narrowest(first, I, J), {dx, dy}, [&](auto width) {
    const int64_t packs = R * I / width;
    GPU_LAUNCH(context_, slice_backward_kernel<width>, grid_for(context_, packs), kThreads, 0, dx, dy, first, I, J,
               packs, accumulate);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
