#include "stitch_backward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// One gate per channel, width channels per thread.
// hub = sum over m of g_m x_m with x_0 = h_0, x_e = p_e; g = softmax(z):
//   dz_m = g_m (dhub x_m - sum over k of g_k dhub x_k)    dp_e = g_e dhub + dprojected_e
template <int width>
__global__ void __launch_bounds__(kThreads) mix_gradients_kernel(StitchBackward s) {
  const int64_t NC = int64_t{s.N} * s.C, i = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * width;
  if (i >= NC) return;
  const int64_t n = i / s.C, c = i % s.C, gate = n * s.M * s.C + c;
  float d[width], g[width], x[width], centre[width] = {};
  load(d, s.dout + i);
  for (int m = 0; m < s.M; m++) {
    load(g, s.gates + gate + m * int64_t{s.C});
    load(x, m == 0 ? s.h + i : s.projected + (m - 1) * NC + i);
#pragma unroll
    for (int k = 0; k < width; k++) centre[k] = fmaf(g[k], d[k] * x[k], centre[k]);
  }
  for (int m = 0; m < s.M; m++) {  // what is read again comes from the L1 cache
    const int64_t at = gate + m * int64_t{s.C};
    float dz[width], dp[width];
    load(g, s.gates + at);
    load(x, m == 0 ? s.h + i : s.projected + (m - 1) * NC + i);
#pragma unroll
    for (int k = 0; k < width; k++) {
      dz[k] = drop(s.dropping, g[k] * (d[k] * x[k] - centre[k]), at + k);
      dp[k] = g[k] * d[k];
    }
    store(s.dz + at, dz);
    if (m == 0) continue;
    if (s.dprojected) {
      load(x, s.dprojected + (m - 1) * NC + i);
#pragma unroll
      for (int k = 0; k < width; k++) dp[k] += x[k];
    }
    store(s.dp + (m - 1) * NC + i, dp);
  }
}

// One gate for all channels of a token: the same, with the gate's gradient summed over the channels. One warp owns a
// token.
template <int width>
__global__ void __launch_bounds__(kThreads, 1) token_mix_gradients_kernel(StitchBackward s) {
  const int n = blockIdx.x * (kThreads / 32) + threadIdx.x / 32, first = threadIdx.x % 32 * width;
  if (n >= s.N) return;
  const int64_t NC = int64_t{s.N} * s.C, row = int64_t{n} * s.C;
  float dg[kStitchMembers] = {}, g[kStitchMembers] = {}, centre = 0;
  for (int c = first; c < s.C; c += 32 * width) {
    float d[width];
    load(d, s.dout + row + c);
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++) {
      if (m >= s.M) break;
      float x[width];
      load(x, (m == 0 ? s.h : s.projected + (m - 1) * NC) + row + c);
#pragma unroll
      for (int k = 0; k < width; k++) dg[m] = fmaf(d[k], x[k], dg[m]);
    }
  }
#pragma unroll
  for (int m = 0; m < kStitchMembers; m++) {
    if (m >= s.M) break;
    dg[m] = warp_sum(dg[m]);
    g[m] = to_float(s.gates[int64_t{n} * s.M + m]);
    centre = fmaf(g[m], dg[m], centre);
  }
  if (first == 0)
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++)
      if (m < s.M)
        s.dz[n * s.dz_stride + m] = from_float<act>(drop(s.dropping, g[m] * (dg[m] - centre), int64_t{n} * s.M + m));
  for (int c = first; c < s.C; c += 32 * width) {
    float d[width];
    load(d, s.dout + row + c);
#pragma unroll
    for (int m = 1; m < kStitchMembers; m++) {
      if (m >= s.M) break;
      const int64_t i = (m - 1) * NC + row + c;
      float dp[width], kept[width] = {};
      if (s.dprojected) load(kept, s.dprojected + i);
#pragma unroll
      for (int k = 0; k < width; k++) dp[k] = fmaf(g[m], d[k], kept[k]);
      store(s.dp + i, dp);
    }
  }
}

void launch_gradients(Context& context, const StitchBackward& s) {
  const int64_t NC = int64_t{s.N} * s.C;
  with_width(s.C, {s.dz, s.dp, s.dout, s.dprojected, s.h, s.gates, s.projected}, [&](auto width) {
    if (s.G == 1)
      GPU_LAUNCH(context, token_mix_gradients_kernel<width>, dim3(ceil_div(s.N, kThreads / 32)), dim3(kThreads), 0, s);
    else GPU_LAUNCH(context, mix_gradients_kernel<width>, dim3(ceil_div(NC, kThreads * width)), dim3(kThreads), 0, s);
  });
}

}  // namespace

void CudaOps::run(const ExpertsIntoHubBackward& op) {
  const auto& [dhub, dprojected, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, size] =
      op;
  const StitchBackward s = stitch_backward(context_, nullptr, dhub, dprojected, h, gates, projected, size);
  launch_gradients(context_, s);
  launch_weight_gradients(context_, dgate_weight, dgate_bias, dproj, s, 0, false);
  if (!dh) return;
  const int64_t NC = size.N * size.C;
  const Weight gate{gate_weight, DType::F32};
  const auto gate_operand = operands(context_, {&gate, 1}, size.M * size.G, size.C);
  const auto proj_operands = operands(context_, proj, size.C, size.C);
  Gemm<act, act> gemm(size.N, size.C);
  // dh_0 = g_0 dhub + sum over m of dz_m Wg_m
  auto& hub = gemm.group(dh);
  hub.residual = dhub;
  hub.scale = {gates, size.M * size.G};
  gemm.scale_cols = size.G;
  add_gate_segments(gemm, gate_operand[0], s, 0);
  // dh_e = dp_e Wp_e
  for (int64_t e = 0; e + 1 < size.M; e++) {
    gemm.group(dh + (e + 1) * NC);
    gemm.add({s.dp + e * NC, size.C}, {proj_operands[e], size.C}, size.C);
  }
  launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
}

}  // namespace bts::cuda::BTS_PRECISION
