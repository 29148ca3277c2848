// What the backward of both stitch layers shares. The gates' and projections' own gradients dz [N,M,G] and dp [E,N,C] come out
// of one pass over what the forward kept: softmax (or sigmoid) is undone from the gates, the dropout mask is drawn again, no
// logits are needed. dz and dp are written, since the products that follow read each of them many times over; then
//   dWg_m += dz_m^T h_0    dWp_e += dp_e^T x_e    a launch each; an element of a gradient has one owner and one order
//   dh = the direct path + dz Wg + dp Wp          one launch; all that reaches a member's stream is summed in registers
#pragma once

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

struct StitchBackward {
  act *dz, *dp, *dh;             // dh: of the experts in Hub-into-Experts, or null
  const act *dout, *dprojected;  // dprojected may be null
  const act *h, *gates, *projected;
  Dropping dropping;
  int M, N, C, G;
  int64_t dz_stride;  // from token to token
};

// dWg_m += dz_m^T h_0 and dbias += sum of dz for the members from `first` on, dWp_e += dp_e^T x_e, x_e = h_e or, where `hub`, h_0.
inline void launch_weight_gradients(Context& context, float* dgate_weight, float* dgate_bias, Gradients dproj,
                                    const StitchBackward& s, int first, bool hub) {
  const int64_t NC = int64_t{s.N} * s.C;
  // The members' logits stand side by side, and so do the rows of their weights: one product.
  Gemm<act, float> gate((s.M - first) * s.G, s.C);
  gate.accumulate(dgate_weight + int64_t{first} * s.G * s.C);
  gate.add({s.dz + first * s.G, s.dz_stride}, {s.h, s.C}, s.N);
  launch_gemm<Depth::Outer, Depth::Outer>(context, gate);
  Gemm<act, float> proj(s.C, s.C);
  for (int64_t e = 0; e + 1 < s.M; e++) {
    proj.accumulate(dproj[e]);
    proj.add({s.dp + e * NC, s.C}, {hub ? s.h : s.h + (e + 1) * NC, s.C}, s.N);
  }
  launch_gemm<Depth::Outer, Depth::Outer>(context, proj);
  if (!dgate_bias) return;
  float* const bias = dgate_bias + first * s.G;
  launch_column_sums(context, {&bias, 1}, s.dz + first * s.G, s.N, int64_t{s.M - first} * s.G, s.dz_stride, 0);
}

// Appends dz Wg, for the members from `first` on, to the result that was started last.
inline void add_gate_segments(Gemm<act, act>& gemm, const act* gate_weight, const StitchBackward& s, int first) {
  if (s.G == 1) {
    gemm.add({s.dz + first, s.dz_stride}, {gate_weight + first * s.C, s.C}, s.M - first);
    return;
  }
  for (int64_t m = first; m < s.M; m++)
    gemm.add({s.dz + m * s.C, s.dz_stride}, {gate_weight + m * s.C * s.C, s.C}, s.C);
}

inline StitchBackward stitch_backward(Context& context, act* dh, const act* dout, const act* dprojected, const act* h,
                                      const act* gates, const act* projected, const StitchSize& s) {
  if (s.M > kStitchMembers)
    throw Error("BAD_SHAPE", "a stitch layer on CUDA takes at most " + std::to_string(kStitchMembers) +
                                 " members, not " + std::to_string(s.M));
  context.scratch().reset();
  // A token's few gates are kept 16 bytes apart, as products read them.
  const int64_t dz_stride = s.G == 1 ? (s.M + 7) / 8 * 8 : s.M * s.G;
  return {.dz = context.scratch().take<act>(s.N * dz_stride),
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
          .G = static_cast<int>(s.G),
          .dz_stride = dz_stride};
}

}  // namespace bts::cuda::BTS_PRECISION
