// Backward of both stitch layers. The gates' and projections' own gradients dz [N,M,G] and dp [E,N,C] come out of one
// pass over what the forward kept: softmax (or sigmoid) is undone from the gates, the dropout mask is drawn again, no
// logits are needed. dz and dp are written, since the products that follow read each of them many times over; then
//   dWg_m += dz_m^T h_0    dWp_e += dp_e^T x_e    a launch each; an element of a gradient has one owner and one order
//   dh = the direct path + dz Wg + dp Wp          one launch; all that reaches a member's stream is summed in registers
#include "../native/error.h"
#include "cuda_ops.h"
#include "drop.cuh"
#include "gemm/column_sums.h"
#include "gemm/gemm.cuh"
#include "gemm/operands.h"
#include "reduce.cuh"
#include "stitch_tiles.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Arguments {
  act *dz, *dp, *dh;             // dh: of the experts in Hub-into-Experts, or null
  const act *dout, *dprojected;  // dprojected may be null
  const act *h, *gates, *projected;
  Dropping dropping;
  int M, N, C, G;
};

// One gate per channel, width channels per thread.
// hub = sum over m of g_m x_m with x_0 = h_0, x_e = p_e; g = softmax(z):
//   dz_m = g_m (dhub x_m - sum over k of g_k dhub x_k)    dp_e = g_e dhub + dprojected_e
template <int width>
__global__ void __launch_bounds__(kThreads) mix_gradients_kernel(Arguments s) {
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

// out_e = h_e + g_e (p_e - h_e), g = sigmoid(z):
//   dz_e = dout_e (p_e - h_e) g_e (1 - g_e)    dp_e = g_e dout_e    dh_e = (1 - g_e) dout_e
// Slot 0 of dz is neither written nor read.
template <int width>
__global__ void __launch_bounds__(kThreads) blend_gradients_kernel(Arguments s) {
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
// token.
__global__ void __launch_bounds__(kThreads, 1) token_mix_gradients_kernel(Arguments s) {
  const int n = blockIdx.x * (kThreads / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= s.N) return;
  const int64_t NC = int64_t{s.N} * s.C, row = int64_t{n} * s.C;
  float dg[kStitchMembers] = {}, centre = 0;
  for (int c = lane; c < s.C; c += 32) {
    const float d = to_float(s.dout[row + c]);
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++)
      if (m < s.M) dg[m] = fmaf(d, to_float(m == 0 ? s.h[row + c] : s.projected[(m - 1) * NC + row + c]), dg[m]);
  }
#pragma unroll
  for (int m = 0; m < kStitchMembers; m++) {
    if (m >= s.M) break;
    dg[m] = warp_sum(dg[m]);
    centre += to_float(s.gates[int64_t{n} * s.M + m]) * dg[m];
  }
#pragma unroll
  for (int m = 0; m < kStitchMembers; m++) {
    if (m >= s.M) break;
    const int64_t at = int64_t{n} * s.M + m;
    const float g = to_float(s.gates[at]);
    if (lane == 0) s.dz[at] = from_float<act>(drop(s.dropping, g * (dg[m] - centre), at));
    if (m > 0)
      for (int c = lane; c < s.C; c += 32) {
        const int64_t i = (m - 1) * NC + row + c;
        s.dp[i] = from_float<act>(g * to_float(s.dout[row + c]) + (s.dprojected ? to_float(s.dprojected[i]) : 0.0f));
      }
  }
}

__global__ void __launch_bounds__(kThreads) token_blend_gradients_kernel(Arguments s) {
  const int n = blockIdx.x * (kThreads / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= s.N) return;
  const int64_t NC = int64_t{s.N} * s.C, row = int64_t{n} * s.C;
  for (int m = 1; m < s.M; m++) {
    const int64_t at = int64_t{n} * s.M + m;
    const float g = to_float(s.gates[at]);
    float dg = 0;
    for (int c = lane; c < s.C; c += 32) {
      const int64_t i = m * NC + row + c;
      const float d = to_float(s.dout[i]);
      dg = fmaf(d, to_float(s.projected[i - NC]) - to_float(s.h[i]), dg);
      s.dp[i - NC] = from_float<act>(g * d);
      if (s.dh) s.dh[i] = from_float<act>(d - g * d);
    }
    dg = warp_sum(dg);
    if (lane == 0) s.dz[at] = from_float<act>(drop(s.dropping, dg * g * (1 - g), at));
  }
}

void launch_gradients(Context& context, const Arguments& s, bool mix) {
  if (s.G == 1) {
    const dim3 grid(ceil_div(s.N, kThreads / 32));
    GPU_LAUNCH(context, mix ? token_mix_gradients_kernel : token_blend_gradients_kernel, grid, dim3(kThreads), 0, s);
    return;
  }
  const int64_t NC = int64_t{s.N} * s.C;
  with_width(s.C, {s.dz, s.dp, s.dh, s.dout, s.dprojected, s.h, s.gates, s.projected}, [&](auto width) {
    GPU_LAUNCH(context, mix ? mix_gradients_kernel<width> : blend_gradients_kernel<width>,
               dim3(ceil_div(NC, kThreads * width)), dim3(kThreads), 0, s);
  });
}

// dWg_m += dz_m^T h_0 and dbias += sum of dz for the members from `first` on, dWp_e += dp_e^T x_e.
void launch_weight_gradients(Context& context, float* dgate_weight, float* dgate_bias, Gradients dproj,
                             const Arguments& s, int first) {
  const int64_t NC = int64_t{s.N} * s.C;
  const bool mix = first == 0;
  // The members' logits stand side by side, and so do the rows of their weights: one product.
  Gemm<act, float> gate((s.M - first) * s.G, s.C, true);
  gate.group(dgate_weight + int64_t{first} * s.G * s.C);
  gate.add({s.dz + first * s.G, int64_t{s.M} * s.G}, {s.h, s.C}, s.N);
  launch_gemm<Depth::Outer, Depth::Outer>(context, gate);
  Gemm<act, float> proj(s.C, s.C, true);
  for (int64_t e = 0; e + 1 < s.M; e++) {
    proj.group(dproj[e]);
    proj.add({s.dp + e * NC, s.C}, {mix ? s.h + (e + 1) * NC : s.h, s.C}, s.N);
  }
  launch_gemm<Depth::Outer, Depth::Outer>(context, proj);
  if (!dgate_bias) return;
  float* const bias = dgate_bias + first * s.G;
  launch_column_sums(context, {&bias, 1}, s.dz + first * s.G, s.N, int64_t{s.M - first} * s.G, int64_t{s.M} * s.G, 0);
}

// Appends dz Wg, for the members from `first` on, to the result that was started last.
void add_gate_segments(Gemm<act, act>& gemm, const act* gate_weight, const Arguments& s, int first) {
  if (s.G == 1) {
    gemm.add({s.dz + first, s.M}, {gate_weight + first * s.C, s.C}, s.M - first);
    return;
  }
  for (int64_t m = first; m < s.M; m++)
    gemm.add({s.dz + m * s.C, int64_t{s.M} * s.C}, {gate_weight + m * s.C * s.C, s.C}, s.C);
}

Arguments arguments(Context& context, act* dh, const act* dout, const act* dprojected, const act* h, const act* gates,
                    const act* projected, const StitchSize& s) {
  if (s.M > kStitchMembers)
    throw Error("BAD_SHAPE", "a stitch layer on CUDA takes at most " + std::to_string(kStitchMembers) +
                                 " members, not " + std::to_string(s.M));
  context.scratch().reset();
  return {.dz = context.scratch().take<act>(s.N * s.M * s.G),
          .dp = context.scratch().take<act>((s.M - 1) * s.N * s.C),
          .dh = dh,
          .dout = dout,
          .dprojected = dprojected,
          .h = h,
          .gates = gates,
          .projected = projected,
          .dropping = s.dropout,
          .M = static_cast<int>(s.M),
          .N = static_cast<int>(s.N),
          .C = static_cast<int>(s.C),
          .G = static_cast<int>(s.G)};
}

}  // namespace

void CudaOps::run(const ExpertsIntoHubBackward& op) {
  const auto& [dhub, dprojected, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, size] =
      op;
  const Arguments s = arguments(context_, nullptr, dhub, dprojected, h, gates, projected, size);
  launch_gradients(context_, s, true);
  launch_weight_gradients(context_, dgate_weight, dgate_bias, dproj, s, 0);
  if (!dh) return;
  const int64_t NC = size.N * size.C;
  const Weight gate{gate_weight, DType::F32};
  const auto gate_operand = operands(context_, {&gate, 1}, size.M * size.G * size.C);
  const auto proj_operands = operands(context_, proj, size.C * size.C);
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

void CudaOps::run(const HubIntoExpertsBackward& op) {
  const auto& [dout, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, size] = op;
  const Arguments s = arguments(context_, dh, dout, nullptr, h, gates, projected, size);
  launch_gradients(context_, s, false);
  launch_weight_gradients(context_, dgate_weight, dgate_bias, dproj, s, 1);
  if (!dh) return;
  const Weight gate{gate_weight, DType::F32};
  const auto gate_operand = operands(context_, {&gate, 1}, size.M * size.G * size.C);
  const auto proj_operands = operands(context_, proj, size.C * size.C);
  // dh_0 = dout_0 + sum over e of dz_e Wg_e + dp_e Wp_e
  Gemm<act, act> gemm(size.N, size.C);
  gemm.group(dh).residual = dout;
  if (size.M > 1) add_gate_segments(gemm, gate_operand[0], s, 1);
  for (int64_t e = 0; e + 1 < size.M; e++)
    gemm.add({s.dp + e * size.N * size.C, size.C}, {proj_operands[e], size.C}, size.C);
  launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
}

}  // namespace bts::cuda::BTS_PRECISION
