#include "stitch_backward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// One gate per channel, width channels per thread.
// out_e = h_e + g_e (p_e - h_e), g = sigmoid(z):
//   dz_e = dout_e (p_e - h_e) g_e (1 - g_e)    dp_e = g_e dout_e    dh_e = (1 - g_e) dout_e
// Slot 0 of dz is neither written nor read.
template <int width>
__global__ void __launch_bounds__(kThreads) blend_gradients_kernel(StitchBackward s) {
  const int64_t NC = int64_t{s.N} * s.C, i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * width;
  if (i >= NC) return;
  const int64_t n = i / s.C, c = i % s.C;
  for (int m = 1; m < s.M; m++) {
    const int64_t at = (n * s.M + m) * s.C + c;
    float d[width], g[width], p[width], own[width], dz[width], dp[width], dh[width];
    load(d, s.dout + m * NC + i);
    load(g, s.gates + at);
    load(p, s.projected + (m - 1) * NC + i);
    load(own, s.h + m * NC + i);
#pragma unroll
    for (int k = 0; k < width; k++) {
      dz[k] = drop(s.dropping, d[k] * (p[k] - own[k]) * g[k] * (1 - g[k]), at + k);
      dp[k] = g[k] * d[k];
      dh[k] = d[k] - dp[k];
    }
    store(s.dz + at, dz);
    store(s.dp + (m - 1) * NC + i, dp);
    if (s.dh) store(s.dh + m * NC + i, dh);
  }
}

// One gate for all channels of a token: the same, with the gate's gradient summed over the channels. One warp owns a
// token. Slot 0 of dz is zero: products that begin there read it.
template <int width>
__global__ void __launch_bounds__(kThreads) token_blend_gradients_kernel(StitchBackward s) {
  const int n = blockIdx.x * (kThreads / 32) + threadIdx.x / 32, first = threadIdx.x % 32 * width;
  if (n >= s.N) return;
  const int64_t NC = int64_t{s.N} * s.C, row = int64_t{n} * s.C;
  act* const gradients = s.dz + n * s.dz_stride;
  if (first == 0) gradients[0] = from_float<act>(0);
  for (int m = 1; m < s.M; m++) {
    const int64_t at = int64_t{n} * s.M + m;
    const float g = to_float(s.gates[at]);
    float dg = 0;
    for (int c = first; c < s.C; c += 32 * width) {
      const int64_t i = m * NC + row + c;
      float d[width], p[width], own[width], dp[width], dh[width];
      load(d, s.dout + i);
      load(p, s.projected + i - NC);
      load(own, s.h + i);
#pragma unroll
      for (int k = 0; k < width; k++) {
        dg = fmaf(d[k], p[k] - own[k], dg);
        dp[k] = g * d[k];
        dh[k] = d[k] - dp[k];
      }
      store(s.dp + i - NC, dp);
      if (s.dh) store(s.dh + i, dh);
    }
    dg = warp_sum(dg);
    if (first == 0) gradients[m] = from_float<act>(drop(s.dropping, dg * g * (1 - g), at));
  }
}

void launch_gradients(Context& context, const StitchBackward& s) {
  const int64_t NC = int64_t{s.N} * s.C;
  with_width(s.C, {s.dz, s.dp, s.dh, s.dout, s.h, s.gates, s.projected}, [&](auto width) {
    if (s.G == 1)
      GPU_LAUNCH(context, token_blend_gradients_kernel<width>, dim3(ceil_div(s.N, kThreads / 32)), dim3(kThreads), 0,
                 s);
    else GPU_LAUNCH(context, blend_gradients_kernel<width>, dim3(ceil_div(NC, kThreads * width)), dim3(kThreads), 0, s);
  });
}

}  // namespace

void CudaOps::run(const HubIntoExpertsBackward& op) {
  const auto& [dout, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, size] = op;
  const StitchBackward s = stitch_backward(context_, dh, dout, nullptr, h, gates, projected, size);
  launch_gradients(context_, s);
  const int first = size.G == 1 ? 0 : 1;  // member whose gate's gradients are read
  launch_weight_gradients(context_, dgate_weight, dgate_bias, dproj, s, first, true);
  if (!dh) return;
  const Weight gate{gate_weight, DType::F32};
  const auto gate_operand = operands(context_, {&gate, 1}, size.M * size.G, size.C);
  const auto proj_operands = operands(context_, proj, size.C, size.C);
  // dh_0 = dout_0 + sum over e of dz_e Wg_e + dp_e Wp_e
  Gemm<act, act> gemm(size.N, size.C);
  gemm.group(dh).residual = dout;
  if (size.M > 1) add_gate_segments(gemm, gate_operand[0], s, first);
  for (int64_t e = 0; e + 1 < size.M; e++)
    gemm.add({s.dp + e * size.N * size.C, size.C}, {proj_operands[e], size.C}, size.C);
  launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
}

}  // namespace bts::cuda::BTS_PRECISION
