#include <cmath>

#include "arrays.cuh"
#include "cuda_ops.h"
#include "reduce.cuh"
#include "span.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kJoining = 1024;  // threads that add what blocks have added
constexpr size_t kShared = kJoining / 32 * sizeof(double);

struct Squared {
  Cut cut;
  const float* gradients[kArrays];
};

// partial[chunk] = the sum of its squares, in f64
__global__ void __launch_bounds__(kThreads) squares_kernel(double* partial, const __grid_constant__ Squared list) {
  DYNAMIC_SHARED(shared);
  const Chunk chunk = list.cut.at(blockIdx.x);
  const float* g = list.gradients[chunk.array] + chunk.begin;
  const int whole = whole_quads(chunk.size, g);
  using Part = Span<float, kQuad, 4>;
  double sum = 0;
  for (int begin = 0; begin < whole; begin += Part::size()) {
    const Part part(g, begin, whole);
    part.for_packs([&](int i, int) {
      float x[kQuad];
      part.get(x, i);
      for (int k = 0; k < kQuad; k++) sum += double(x[k]) * x[k];
    });
  }
  for (int i = whole + threadIdx.x; i < chunk.size; i += kThreads) sum += double(g[i]) * g[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kJoining) norm_kernel(float* norm, const double* partial, int64_t chunks) {
  DYNAMIC_SHARED(shared);
  double sum = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) norm[0] = float(sqrt(sum));
}

}  // namespace

void CudaOps::run(const GlobalNorm& op) {
  const auto& [gradients, norm] = op;
  int64_t chunks = 0;
  for (const Array& array : gradients) chunks += (array.size + kChunk - 1) / kChunk;
  context_.scratch().reset();
  auto* partial = context_.scratch().take<double>(chunks);
  double* next = partial;
  for_lists(gradients.size(), [&](size_t first, size_t last) {
    Squared list;
    for (size_t i = first; i < last; i++) {
      list.gradients[list.cut.count] = gradients[i].data;
      list.cut.add(gradients[i].size);
    }
    GPU_LAUNCH(context_, squares_kernel, dim3(list.cut.chunks()), kThreads, kShared, next, list);
    next += list.cut.chunks();
  });
  GPU_LAUNCH(context_, norm_kernel, dim3(1), kJoining, kShared, norm, partial, chunks);
}

}  // namespace bts::cuda::BTS_PRECISION
