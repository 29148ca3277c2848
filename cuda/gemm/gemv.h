// Few rows times large weights: what decoding does.
#pragma once

#include "../cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// At most; beyond that tensor cores are worth their tiles, which sum in another order.
constexpr int64_t kGemvRows = 7;

// y_m = x_m (W_m + s_m B_m A_m)^T (+ bias_m) (+ residual_m) for N <= kGemvRows, each weight read in its own precision, and
// once by neighbours that share it, as far as they have kGemvRows together.
// y, residual [M,N,O]  x [M,N,I]  W M x [O,I]  bias, low_rank M x, or empty
void launch_gemv(Context& context, act* y, const act* x, Weights weight, Weights bias, LowRanks low_rank,
                 const act* residual, int64_t N, int64_t I, int64_t O);

// y_m = x W_m^T in the same way, of one x [N,I] for all weights; y, [M,N,O], of activations or of sums in f32.
template <class Out>
void launch_shared_gemv(Context& context, Out* y, const act* x, Weights weight, int64_t N, int64_t I, int64_t O);

// y_m = act(x_m Wg_m^T + bg_m) * (x_m Wu_m^T + bu_m) in the same way.
// y [M,N,F]  x [M,N,C]  gate (Wg), up (Wu) M x [F,C]  biases M x [F] or empty
void launch_swiglu_gemv(Context& context, act* y, const act* x, Weights gate, Weights up, Weights gate_bias,
                        Weights up_bias, int64_t N, int64_t C, int64_t F, Activation activation);

}  // namespace bts::cuda::BTS_PRECISION
