#include "arrays.cuh"
#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Updated {
  Cut cut;
  float *parameters[kArrays], *first_moments[kArrays], *second_moments[kArrays];
  const float* gradients[kArrays];
};

__global__ void __launch_bounds__(kThreads) adamw_kernel(const __grid_constant__ Updated list, const float* norm,
                                                         AdamWStep step, float clip_norm) {
  if (!(fabsf(norm[0]) < INFINITY)) return;
  const Chunk chunk = list.cut.at(blockIdx.x);
  const float clip = fminf(1.0f, clip_norm / (norm[0] + 1e-6f));
  float* parameter = list.parameters[chunk.array] + chunk.begin;
  float* first_moment = list.first_moments[chunk.array] + chunk.begin;
  float* second_moment = list.second_moments[chunk.array] + chunk.begin;
  const float* gradient = list.gradients[chunk.array] + chunk.begin;
  const auto update = [&](auto width, int i) {
    float p[width], m[width], v[width], g[width];
    load(p, parameter + i);
    load(m, first_moment + i);
    load(v, second_moment + i);
    load(g, gradient + i);
    for (int k = 0; k < width; k++) adamw_update<Math>(p[k], m[k], v[k], clip * g[k], step);
    store(parameter + i, p);
    store(first_moment + i, m);
    store(second_moment + i, v);
  };
  const int whole = whole_quads(chunk.size, parameter, first_moment, second_moment, gradient);
#pragma unroll 1
  for (int i = threadIdx.x * kQuad; i < whole; i += kThreads * kQuad) update(std::integral_constant<int, kQuad>(), i);
#pragma unroll 1
  for (int i = whole + threadIdx.x; i < chunk.size; i += kThreads) update(std::integral_constant<int, 1>(), i);
}

}  // namespace

void CudaOps::run(const AdamW& op) {
  const AdamWStep step(op);
  for_lists(op.parameters.size(), [&](size_t first, size_t last) {
    Updated list;
    for (size_t i = first; i < last; i++) {
      const int at = list.cut.count;
      list.parameters[at] = op.parameters[i].data;
      list.first_moments[at] = op.first_moments[i].data;
      list.second_moments[at] = op.second_moments[i].data;
      list.gradients[at] = op.gradients[i].data;
      list.cut.add(op.parameters[i].size);
    }
    GPU_LAUNCH(context_, adamw_kernel, dim3(list.cut.chunks()), kThreads, 0, list, op.norm, step, float(op.clip_norm));
  });
}

}  // namespace bts::cuda::BTS_PRECISION
