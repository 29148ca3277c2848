// Elementwise ops on activations. F computes one element in f32: it takes what the inputs hold, and leaves what the outputs
// get in the first places.
#pragma once

#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

template <class T, int count>
struct Places {
  T* at[count];
};

// Packs that a thread reads before it works on the first: enough of them are on their way to keep the memory busy.
template <int inputs>
constexpr int kAhead = inputs == 1 ? 4 : 2;

template <int width, int inputs, int outputs, class F>
__global__ void __launch_bounds__(kThreads) map_kernel(Places<act, outputs> y, Places<const act, inputs> x,
                                                       int64_t packs, F f) {
  const int64_t first = int64_t(blockIdx.x) * (kAhead<inputs> * kThreads) + threadIdx.x;
  Pack<act, width> read[kAhead<inputs>][inputs];
#pragma unroll
  for (int a = 0; a < kAhead<inputs>; a++) {
    const int64_t i = first + a * kThreads;
#pragma unroll
    for (int n = 0; n < inputs; n++)
      if (i < packs) read[a][n] = pack_at<width>(x.at[n] + i * width);
  }
#pragma unroll
  for (int a = 0; a < kAhead<inputs>; a++) {
    const int64_t i = first + a * kThreads;
    if (i >= packs) return;
    float results[outputs][width];
#pragma unroll
    for (int k = 0; k < width; k++) {
      float values[inputs > outputs ? inputs : outputs];
      for (int n = 0; n < inputs; n++) values[n] = to_float(read[a][n].at[k]);
      f(values);
      for (int n = 0; n < outputs; n++) results[n][k] = values[n];
    }
    for (int n = 0; n < outputs; n++) store(y.at[n] + i * width, results[n]);
  }
}

// y[.][i] = f(x[.][i]), n elements. A result may lie where an input is.
template <int outputs, int inputs, class F>
void map(const Context& context, act* const (&y)[outputs], const act* const (&x)[inputs], int64_t n, F f) {
  Places<act, outputs> to;
  Places<const act, inputs> from;
  const void* places[outputs + inputs];
  for (int i = 0; i < outputs; i++) places[i] = to.at[i] = y[i];
  for (int i = 0; i < inputs; i++) places[outputs + i] = from.at[i] = x[i];
  with_width(n, std::span<const void* const>(places), [&](auto width) {
    const int64_t packs = n / width, blocks = (packs + kAhead<inputs> * kThreads - 1) / (kAhead<inputs> * kThreads);
    GPU_LAUNCH(context, (map_kernel<width, inputs, outputs, F>), dim3(blocks), kThreads, 0, to, from, packs, f);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
