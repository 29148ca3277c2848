#include "cuda_ops.h"
#include "reduce.cuh"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int64_t kSumChunk = 16 * kThreads;  // elements that one block adds

// partial[block] = sum of its chunk, in f64
__global__ void sum_chunks_kernel(double* partial, const float* x, int64_t n) {
  DYNAMIC_SHARED(shared);
  const int64_t begin = int64_t(blockIdx.x) * kSumChunk, end = begin + kSumChunk < n ? begin + kSumChunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += x[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void sum_partials_kernel(float* y, const double* partial, int64_t chunks, float scale) {
  DYNAMIC_SHARED(shared);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) y[0] = float(scale * sum);
}

__global__ void fill_scaled_kernel(float* y, const float* value, float scale, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) y[i] = scale * value[0];
}

constexpr size_t kSumShared = kThreads / 32 * sizeof(double);

}  // namespace

void CudaOps::run(const SumForward& op) {
  const auto [x, y, scale, N] = op;
  const int64_t chunks = (N + kSumChunk - 1) / kSumChunk;
  context_.scratch().reset();
  auto* partial = context_.scratch().take<double>(chunks);
  GPU_LAUNCH(context_, sum_chunks_kernel, dim3(chunks), kThreads, kSumShared, partial, x, N);
  GPU_LAUNCH(context_, sum_partials_kernel, dim3(1), kThreads, kSumShared, y, partial, chunks, scale);
}

// forward: y = scale * sum of x
void CudaOps::run(const SumBackward& op) {
  const auto [dy, dx, scale, N] = op;
  GPU_LAUNCH(context_, fill_scaled_kernel, grid_for(context_, N), kThreads, 0, dx, dy, scale, N);
}

}  // namespace bts::cuda::BTS_PRECISION
