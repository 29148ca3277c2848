#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// y[r,:] = x[rows[r],:]
template <int width>
__global__ void gather_rows_kernel(act* y, const act* x, const int32_t* rows, int64_t C) {
  using Row = Pack<act, width>;
  const auto* from = reinterpret_cast<const Row*>(x + rows[blockIdx.x] * C);
  auto* to = reinterpret_cast<Row*>(y + blockIdx.x * C);
  for (int64_t i = threadIdx.x; i < C / width; i += blockDim.x) to[i] = from[i];
}

}  // namespace

void CudaOps::run(const GatherRows& op) {
  const auto [x, rows, y, R, C] = op;
  with_width(C, {y, x},
             [&](auto width) { GPU_LAUNCH(context_, gather_rows_kernel<width>, dim3(R), kThreads, 0, y, x, rows, C); });
}

}  // namespace bts::cuda::BTS_PRECISION
