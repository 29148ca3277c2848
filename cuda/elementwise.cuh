// Elementwise ops on activations: F computes one element in f32, from one or two.
#pragma once

#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

template <int width, class F>
__global__ void map_kernel(act* y, const act* x, int64_t packs, F f) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float in[width];
    load(in, x + i * width);
    for (int k = 0; k < width; k++) in[k] = f(in[k]);
    store(y + i * width, in);
  }
}

template <int width, class F>
__global__ void map_pairs_kernel(act* y, const act* a, const act* b, int64_t packs, F f) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float left[width], right[width];
    load(left, a + i * width);
    load(right, b + i * width);
    for (int k = 0; k < width; k++) left[k] = f(left[k], right[k]);
    store(y + i * width, left);
  }
}

// y[i] = f(x[i]), n elements
template <class F>
void map(const Context& context, act* y, const act* x, int64_t n, F f) {
  with_width(n, {y, x}, [&](auto width) {
    GPU_LAUNCH(context, (map_kernel<width, F>), grid_for(context, n / width), kThreads, 0, y, x, n / width, f);
  });
}

// y[i] = f(a[i], b[i])
template <class F>
void map(const Context& context, act* y, const act* a, const act* b, int64_t n, F f) {
  with_width(n, {y, a, b}, [&](auto width) {
    GPU_LAUNCH(context, (map_pairs_kernel<width, F>), grid_for(context, n / width), kThreads, 0, y, a, b, n / width, f);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
