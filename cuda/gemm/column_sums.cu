// to_m[c] += sum over n of x_m[n,c]. One block owns 32 columns and always adds its rows in the same order.
#include "column_sums.h"

#include "../members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kColumns = 32, kLanes = 8;

__global__ void __launch_bounds__(kColumns* kLanes) column_sums_kernel(const __grid_constant__ GradientList to,
                                                                       const act* x, int64_t rows, int64_t cols,
                                                                       int64_t stride, int64_t member_stride) {
  DYNAMIC_SHARED(shared);
  float* partial = reinterpret_cast<float*>(shared);  // [kLanes, kColumns]
  const int m = blockIdx.y, column = threadIdx.x % kColumns, lane = threadIdx.x / kColumns;
  const int64_t c = int64_t{blockIdx.x} * kColumns + column;
  float sum = 0;
  if (c < cols)
    for (int64_t n = lane; n < rows; n += kLanes) sum += to_float(x[m * member_stride + n * stride + c]);
  partial[threadIdx.x] = sum;
  __syncthreads();
  if (lane != 0 || c >= cols) return;
  for (int other = 1; other < kLanes; other++) sum += partial[other * kColumns + column];
  to.data[m][c] += sum;
}

}  // namespace

void launch_column_sums(Context& context, Gradients to, const act* x, int64_t rows, int64_t cols, int64_t stride,
                        int64_t member_stride) {
  for_members(to.size(), [&](int64_t first, int64_t count) {
    GPU_LAUNCH(context, column_sums_kernel, dim3((cols + kColumns - 1) / kColumns, count), dim3(kColumns * kLanes),
               kColumns * kLanes * sizeof(float), GradientList::of(to, first, count), x + first * member_stride, rows,
               cols, stride, member_stride);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
