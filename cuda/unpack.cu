#include "cuda_ops.h"
#include "members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// A thread makes a group.
template <class Group>
__global__ void __launch_bounds__(kThreads) unpack_groups_kernel(const __grid_constant__ Unpack op, int64_t in_row) {
  with_elements(op.scales, [&](auto* scales) {
    const auto scale = [&](int64_t g) { return to_float(scales[g]); };
    for (int64_t at = grid_thread(); at < op.O * in_row; at += grid_threads())
      unpack_group(op, static_cast<Group*>(op.y)[at], at / in_row, at % in_row * Group::kNumbers, scale);
  });
}

__global__ void __launch_bounds__(kThreads) unpack_kernel(const __grid_constant__ Unpack op) {
  with_elements(op.scales, [&](auto* scales) {
    for (int64_t at = grid_thread(); at < op.O * op.I; at += grid_threads()) {
      const int64_t o = at / op.I, i = at % op.I, g = o * op.G + op.groups[i];
      static_cast<float*>(op.y)[at] = to_float(scales[g]) * static_cast<float>(op.code(o, i) - op.zeros[g]);
    }
  });
}

}  // namespace

void CudaOps::run(const Unpack& op) {
  if (op.to == DType::F32) {
    GPU_LAUNCH(context_, unpack_kernel, grid_for(context_, op.O * op.I), kThreads, 0, op);
    return;
  }
  const auto launch = [&]<class Group>(Group*) {
    const int64_t in_row = row_stride(op.to, op.I) / Group::kNumbers;
    GPU_LAUNCH(context_, unpack_groups_kernel<Group>, grid_for(context_, op.O * in_row), kThreads, 0, op, in_row);
  };
  if (op.to == DType::Int8) launch(static_cast<Int8Group*>(nullptr));
  else launch(static_cast<Int4Group*>(nullptr));
}

}  // namespace bts::cuda::BTS_PRECISION
