#include "arrays.cuh"
#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Updated {
  Cut cut;
  float *parameters[kArrays], *first_moments[kArrays], *second_moments[kArrays];
  const float* gradients[kArrays];
};

__global__ void adamw_kernel(Updated list, const float* norm, AdamWStep step, float clip_norm) {
  if (!(fabsf(norm[0]) < INFINITY)) return;
  const Chunk chunk = list.cut.at(blockIdx.x);
  const float clip = fminf(1.0f, clip_norm / (norm[0] + 1e-6f));
  float* p = list.parameters[chunk.array];
  float* m = list.first_moments[chunk.array];
  float* v = list.second_moments[chunk.array];
  const float* gradient = list.gradients[chunk.array];
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x)
    adamw_update<Math>(p[i], m[i], v[i], clip * gradient[i], step);
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
