// Few rows times large weights: what decoding does.
#pragma once

#include "ops_cuda.h"

namespace bts::cuda::BTS_PRECISION {

constexpr int64_t kGemvRows = 8;  // at most; beyond that tensor cores are worth their tiles

// y_m = x_m W_m^T (+ bias_m) (+ residual_m) for N <= kGemvRows, each weight read once and in its own precision.
// y, residual [M,N,O]  x [M,N,I]  W M x [O,I]  bias M x [O] or empty
void launch_gemv(Context& context, act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N,
                 int64_t I, int64_t O);

}  // namespace bts::cuda::BTS_PRECISION
