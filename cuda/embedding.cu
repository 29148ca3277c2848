#include "members.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr unsigned kAllLanes = 0xffffffffu;

// As activations would hold it.
__device__ __forceinline__ float rounded(float x) { return to_float(from_float<act>(x)); }

// One block a row of one member: y[m,n,:] = scale table_m[ids[n],:]
template <int width>
__global__ void embedding_forward_kernel(act* y, const __grid_constant__ WeightList table, const int32_t* ids,
                                         int64_t C, float scale) {
  const int64_t first = ids[blockIdx.x] * C;
  const float factor = rounded(scale);
  act* to = y + (int64_t(blockIdx.y) * gridDim.x + blockIdx.x) * C;
  with_elements(table, blockIdx.y, [&](auto* weight) {
    for (int64_t c = threadIdx.x * width; c < C; c += blockDim.x * width) {
      float x[width];
      load(x, weight + first + c);
      for (int k = 0; k < width; k++) x[k] *= factor;
      store(to + c, x);
    }
  });
}

// One warp for each row n and stripe of channels. Of the rows with one id the first adds up all of them, in their order:
// no atomics, and the same sum every time.
template <int width>
__global__ void embedding_backward_kernel(const __grid_constant__ GradientList dtable, const act* dy,
                                          const int32_t* ids, int N, int64_t C, float scale) {
  const int n = blockIdx.x, lane = threadIdx.x, m = blockIdx.z, id = ids[n];
  for (int before = lane; before - lane < n; before += 32)
    if (__any_sync(kAllLanes, before < n && ids[before] == id)) return;
  const int64_t c = (int64_t(blockIdx.y) * 32 + lane) * width;
  const act* rows = dy + int64_t(m) * N * C;
  float sum[width] = {};
  for (int first = n; first < N; first += 32) {
    unsigned same = __ballot_sync(kAllLanes, first + lane < N && ids[first + lane] == id);
    for (; same; same &= same - 1) {
      if (c >= C) continue;
      float d[width];
      load(d, rows + int64_t(first + __ffs(same) - 1) * C + c);
      for (int k = 0; k < width; k++) sum[k] += d[k];
    }
  }
  if (c >= C) return;
  float* to = dtable.data[m] + id * C + c;
  for (int k = 0; k < width; k++) to[k] += rounded(scale) * sum[k];
}

}  // namespace

void CudaOps::run(const EmbeddingForward& op) {
  const auto& [table, ids, y, N, V, C, scale] = op;
  for_members(std::ssize(table), [&](int64_t first, int64_t count) {
    with_width(C, {y}, table, [&](auto width) {
      GPU_LAUNCH(context_, embedding_forward_kernel<width>, dim3(N, count), kThreads, 0, y + first * N * C,
                 WeightList::of(table, first, count), ids, C, scale);
    });
  });
}

void CudaOps::run(const EmbeddingBackward& op) {
  const auto& [dy, dtable, ids, N, V, C, scale] = op;
  with_width(C, {dy}, [&](auto width) {
    const int64_t stripes = (C + 32 * width - 1) / (32 * width);
    for_members(std::ssize(dtable), [&](int64_t first, int64_t count) {
      GPU_LAUNCH(context_, embedding_backward_kernel<width>, dim3(N, stripes, count), 32, 0,
                 GradientList::of(dtable, first, count), dy + first * N * C, ids, N, C, scale);
    });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
