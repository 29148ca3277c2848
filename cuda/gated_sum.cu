// One warp a row of tokens. Members are few: every lane ranks the row's logits for itself.
#include "reduce.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kRows = kThreads / 32;  // of a block

// What a router gives member m of one row.
struct Route {
  bool kept;      // among the row's largest, the first among equals
  float softmax;  // over all members
};

__device__ Route route_of(const act* logits, int m, int M, int keep, float temperature) {
  const float own = to_float(logits[m]);
  float top = own, sum = 0;
  int rank = 0;  // how many logits come before it
  for (int j = 0; j < M; j++) {
    const float other = to_float(logits[j]);
    top = fmaxf(top, other);
    rank += other > own || (other == own && j < m);
  }
  if (temperature == 0) return {rank < keep, rank == 0 ? 1.0f : 0.0f};
  for (int j = 0; j < M; j++) sum += expf((to_float(logits[j]) - top) / temperature);
  return {rank < keep, expf((own - top) / temperature) / sum};
}

template <int width>
__global__ void gated_sum_forward_kernel(act* y, act* gates, const act* x, const act* logits, const act* residual,
                                         int M, int64_t N, int64_t C, int keep, float temperature) {
  const int64_t n = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (n >= N) return;
  const act* row = logits + n * M;
  for (int m = threadIdx.x; m < M; m += 32) {
    const Route route = route_of(row, m, M, keep, temperature);
    gates[n * M + m] = from_float<act>(route.kept ? route.softmax : 0.0f);
  }
  for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
    float sum[width] = {};
    if (residual) load(sum, residual + n * C + c);
    for (int m = 0; m < M; m++) {
      const Route route = route_of(row, m, M, keep, temperature);
      if (!route.kept || route.softmax == 0) continue;  // what weighs nothing may be anything
      float in[width];
      load(in, x + (m * N + n) * C + c);
      for (int k = 0; k < width; k++) sum[k] += route.softmax * in[k];
    }
    store(y + n * C + c, sum);
  }
}

// y = sum over m of g_m x_m, s = softmax(z / temperature)
template <int width>
__global__ void gated_sum_backward_kernel(act* dx, act* dlogits, const act* dy, const act* x, const act* logits, int M,
                                          int64_t N, int64_t C, int keep, float temperature) {
  DYNAMIC_SHARED(shared);
  const int64_t n = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (n >= N) return;
  const act* row = logits + n * M;
  float* dgates = reinterpret_cast<float*>(shared) + threadIdx.y * M;
  float centre = 0;
  for (int m = 0; m < M; m++) {
    const Route route = route_of(row, m, M, keep, temperature);
    const float gate = route.kept ? route.softmax : 0.0f;
    const int64_t first = (m * N + n) * C;
    float dot = 0;
    for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
      float d[width], in[width];
      load(d, dy + n * C + c);
      if (route.kept) {
        load(in, x + first + c);
        for (int k = 0; k < width; k++) dot += d[k] * in[k];
      }
      for (int k = 0; k < width; k++) d[k] *= gate;
      store(dx + first + c, d);
    }
    dot = warp_sum(dot);
    if (threadIdx.x == 0) dgates[m] = dot;
    centre += gate * dot;
  }
  __syncwarp();
  for (int m = threadIdx.x; m < M; m += 32) {
    const float s = route_of(row, m, M, keep, temperature).softmax;
    dlogits[n * M + m] = from_float<act>(temperature == 0 ? 0.0f : s * (dgates[m] - centre) / temperature);
  }
}

}  // namespace

void CudaOps::run(const GatedSumForward& op) {
  const auto [x, logits, residual, y, gates, size] = op;
  with_width(size.C, {y, x, residual}, [&](auto width) {
    GPU_LAUNCH(context_, gated_sum_forward_kernel<width>, dim3((size.N + kRows - 1) / kRows), dim3(32, kRows), 0, y,
               gates, x, logits, residual, size.M, size.N, size.C, size.keep, size.temperature);
  });
}

void CudaOps::run(const GatedSumBackward& op) {
  const auto [dy, x, logits, dx, dlogits, size] = op;
  with_width(size.C, {dx, dy, x}, [&](auto width) {
    GPU_LAUNCH(context_, gated_sum_backward_kernel<width>, dim3((size.N + kRows - 1) / kRows), dim3(32, kRows),
               kRows * size.M * sizeof(float), dx, dlogits, dy, x, logits, size.M, size.N, size.C, size.keep,
               size.temperature);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
