// One thread a column of M entries, as in softmax.cu.
#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void sum_axis_forward_kernel(act* y, const act* x, float scale, int64_t M, int64_t R, int64_t columns) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    const int64_t first = column / R * M * R + column % R;
    float sum = 0;
    for (int64_t m = 0; m < M; m++) sum += to_float(x[first + m * R]);
    y[column] = from_float<act>(scale * sum);
  }
}

__global__ void sum_axis_backward_kernel(act* dx, const act* dy, float scale, int64_t M, int64_t R, int64_t columns) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    const int64_t first = column / R * M * R + column % R;
    const act d = from_float<act>(scale * to_float(dy[column]));
    for (int64_t m = 0; m < M; m++) dx[first + m * R] = d;
  }
}

}  // namespace

void CudaOps::run(const SumAxisForward& op) {
  const auto [x, y, scale, L, M, R] = op;
  GPU_LAUNCH(context_, sum_axis_forward_kernel, grid_for(context_, L * R), kThreads, 0, y, x, scale, M, R, L * R);
}

void CudaOps::run(const SumAxisBackward& op) {
  const auto [dy, dx, scale, L, M, R] = op;
  GPU_LAUNCH(context_, sum_axis_backward_kernel, grid_for(context_, L * R), kThreads, 0, dx, dy, scale, M, R, L * R);
}

}  // namespace bts::cuda::BTS_PRECISION
