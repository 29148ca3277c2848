// Gradients of biases.
#pragma once

#include "../cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// to_m[c] += sum over n of x_m[n * stride + c] for c < cols; x_m = x + m * member_stride
void launch_column_sums(Context& context, Gradients to, const act* x, int64_t rows, int64_t cols, int64_t stride,
                        int64_t member_stride);

}  // namespace bts::cuda::BTS_PRECISION
