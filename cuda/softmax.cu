// One thread a column of M entries: neighbours read neighbours where R is more than one.
#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void softmax_forward_kernel(act* y, const act* x, int64_t M, int64_t R, int64_t columns) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    const int64_t first = column / R * M * R + column % R;
    float top = to_float(x[first]), sum = 0;
    for (int64_t m = 1; m < M; m++) top = fmaxf(top, to_float(x[first + m * R]));
    for (int64_t m = 0; m < M; m++) sum += expf(to_float(x[first + m * R]) - top);
    for (int64_t m = 0; m < M; m++) {
      const int64_t i = first + m * R;
      y[i] = from_float<act>(expf(to_float(x[i]) - top) / sum);
    }
  }
}

__global__ void softmax_backward_kernel(act* dx, const act* dy, const act* y, int64_t M, int64_t R, int64_t columns) {
  for (int64_t column = grid_thread(); column < columns; column += grid_threads()) {
    const int64_t first = column / R * M * R + column % R;
    float centre = 0;
    for (int64_t m = 0; m < M; m++) centre += to_float(y[first + m * R]) * to_float(dy[first + m * R]);
    for (int64_t m = 0; m < M; m++) {
      const int64_t i = first + m * R;
      dx[i] = from_float<act>(to_float(y[i]) * (to_float(dy[i]) - centre));
    }
  }
}

}  // namespace

void CudaOps::run(const SoftmaxForward& op) {
  const auto [x, y, L, M, R] = op;
  GPU_LAUNCH(context_, softmax_forward_kernel, grid_for(context_, L * R), kThreads, 0, y, x, M, R, L * R);
}

void CudaOps::run(const SoftmaxBackward& op) {
  const auto [dy, y, dx, L, M, R] = op;
  GPU_LAUNCH(context_, softmax_backward_kernel, grid_for(context_, L * R), kThreads, 0, dx, dy, y, M, R, L * R);
}

}  // namespace bts::cuda::BTS_PRECISION
