#include "activation.cuh"
#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width>
__global__ void swiglu_forward_kernel(act* y, const act* gate, const act* up, int64_t packs, Activation activation) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float g[width], u[width];
    load(g, gate + i * width);
    load(u, up + i * width);
    for (int k = 0; k < width; k++) u[k] *= activated(activation, g[k]);
    store(y + i * width, u);
  }
}

template <int width>
__global__ void swiglu_backward_kernel(act* dgate, act* dup, const act* dy, const act* gate, const act* up,
                                       int64_t packs, Activation activation) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float d[width], g[width], u[width];
    load(d, dy + i * width);
    load(g, gate + i * width);
    load(u, up + i * width);
    with_activation(activation, [&](auto act) {
      for (int k = 0; k < width; k++) {
        u[k] = act.times_slope(d[k] * u[k], g[k]);
        d[k] *= act.value(g[k]);
      }
    });
    store(dgate + i * width, u);
    store(dup + i * width, d);
  }
}

}  // namespace

void CudaOps::run(const SwigluForward& op) {
  const auto [gate, up, y, n, activation] = op;
  with_width(n, {y, gate, up}, [&](auto width) {
    GPU_LAUNCH(context_, swiglu_forward_kernel<width>, grid_for(context_, n / width), kThreads, 0, y, gate, up,
               n / width, activation);
  });
}

void CudaOps::run(const SwigluBackward& op) {
  const auto [dy, gate, up, dgate, dup, n, activation] = op;
  with_width(n, {dgate, dup, dy, gate, up}, [&](auto width) {
    GPU_LAUNCH(context_, swiglu_backward_kernel<width>, grid_for(context_, n / width), kThreads, 0, dgate, dup, dy,
               gate, up, n / width, activation);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
