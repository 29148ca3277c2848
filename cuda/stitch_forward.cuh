// What the forward of both stitch layers has in common. Written are the result and what the backward reads: gates [N,M,G] (after softmax or
// sigmoid) and projections [E,N,C]. With a gate for every channel a block owns a tile of tokens x channels and takes it from
// the hidden states to the mixed result: logits never leave the registers. A few tokens stream through the weights instead,
// in the weights' own precision, and a gate for a whole token is so little that what follows it is bound by memory.
#pragma once

#include <algorithm>

#include "../native/error.h"
#include "cuda_ops.h"
#include "drop.cuh"
#include "gemm/epilogue.cuh"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/operands.h"
#include "gemm/ring.cuh"
#include "gemm/tile_walk.cuh"
#include "reduce.cuh"
#include "stitch_tiles.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kExperts = kStitchMembers - 1;

struct StitchForward {
  act *out, *gates, *projected;
  const act *h, *gate_weight;  // [M,N,C]  [M,G,C]
  const float* gate_bias;      // [M,G] or null
  const act* proj[kExperts];
  Dropping dropping;  // of the logits
  int M, N, C, G;
  TileOrder order;
};

// Where gate (row, m, col) stands in gates.
__device__ __forceinline__ int64_t gate_index(const StitchForward& s, int row, int m, int col) {
  return (int64_t{row} * s.M + m) * s.G + (s.G == 1 ? 0 : col);
}

// z of gate m becomes logits: `count` of them from (row, col) on.
template <int width>
__device__ __forceinline__ void finish_logits(const StitchForward& s, float (&z)[width], int row, int m, int col,
                                              int count) {
  if (s.gate_bias)
#pragma unroll
    for (int i = 0; i < width; i++)
      if (i < count) z[i] += s.gate_bias[m * s.G + (s.G == 1 ? 0 : col + i)];
  if (s.dropping.below != 0)  // once, not for each: the words are long, and seldom drawn
#pragma unroll
    for (int i = 0; i < width; i++)
      if (i < count) z[i] = drop(s.dropping, z[i], gate_index(s, row, m, col + i));
}

__device__ __forceinline__ float sigmoid(float z) { return 1 / (1 + __expf(-z)); }

// g = softmax over m < M of g, in place.
template <int kMembers>
__device__ __forceinline__ void softmax(float (&g)[kMembers], int M) {
  float top = g[0], sum = 0;
#pragma unroll
  for (int m = 1; m < kMembers; m++)
    if (m < M) top = fmaxf(top, g[m]);
#pragma unroll
  for (int m = 0; m < kMembers; m++)
    if (m < M) sum += g[m] = __expf(g[m] - top);
  const float scale = 1 / sum;
#pragma unroll
  for (int m = 0; m < kMembers; m++) g[m] *= scale;
}

constexpr int kTokens = 4;  // of a warp: a weight that was read serves them all

// One gate for all channels of a token. gates[n,m] = softmax (or sigmoid, from member 1 on) of dropout(h_0 Wg^T + bg).
// Weights are read in f32 where they are; one warp owns kTokens tokens.
template <int width>
__global__ void __launch_bounds__(kThreads) token_gates_kernel(const __grid_constant__ StitchForward s,
                                                               const float* weight, bool is_softmax) {
  const int first = (blockIdx.x * (kThreads / 32) + threadIdx.x / 32) * kTokens, lane = threadIdx.x % 32;
  if (first >= s.N) return;
  const int tokens = min(s.N - first, kTokens);
  float g[kTokens][kStitchMembers] = {};
  for (int c = lane * width; c < s.C; c += 32 * width) {
    float x[kTokens][width] = {};
#pragma unroll
    for (int t = 0; t < kTokens; t++)
      if (t < tokens) load(x[t], s.h + int64_t{first + t} * s.C + c);
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++) {
      if (m >= s.M) break;
      float w[width];
      load(w, weight + int64_t{m} * s.C + c);
#pragma unroll
      for (int t = 0; t < kTokens; t++)
#pragma unroll
        for (int k = 0; k < width; k++) g[t][m] = fmaf(x[t][k], w[k], g[t][m]);
    }
  }
#pragma unroll
  for (int t = 0; t < kTokens; t++) {
    const int row = first + t;
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++) {
      if (m >= s.M) break;
      float z[1] = {warp_sum(g[t][m])};
      if (row < s.N) finish_logits(s, z, row, m, 0, 1);
      g[t][m] = z[0];
    }
    if (is_softmax) softmax(g[t], s.M);
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++)
      if (row < s.N && m < s.M && lane == m)
        s.gates[int64_t{row} * s.M + m] = from_float<act>(is_softmax ? g[t][m] : m ? sigmoid(g[t][m]) : 0.0f);
  }
}

// Whether the packs of all that a stitch reads and writes lie on their own size.
template <int width>
__device__ __forceinline__ bool packs_aligned(const StitchForward& s) {
  const auto addresses = reinterpret_cast<uintptr_t>(s.out) | reinterpret_cast<uintptr_t>(s.gates) |
                         reinterpret_cast<uintptr_t>(s.projected) | reinterpret_cast<uintptr_t>(s.h);
  return s.C % width == 0 && addresses % 16 == 0;
}

inline StitchForward stitch_forward(Context& context, act* out, act* gates, act* projected, const act* h,
                                    const float* gate_bias, const StitchSize& s) {
  if (s.M > kStitchMembers)
    throw Error("BAD_SHAPE", "a stitch layer on CUDA takes at most " + std::to_string(kStitchMembers) +
                                 " members, not " + std::to_string(s.M));
  context.scratch().reset();
  return {.out = out,
          .gates = gates,
          .projected = projected,
          .h = h,
          .gate_weight = nullptr,
          .gate_bias = gate_bias,
          .proj = {},
          .dropping = s.dropout,
          .M = static_cast<int>(s.M),
          .N = static_cast<int>(s.N),
          .C = static_cast<int>(s.C),
          .G = static_cast<int>(s.G),
          .order = {}};
}

// The gates' weights as the tiles read them.
inline void round_gates(Context& context, StitchForward& s, const float* gate_weight) {
  const Weight weight{gate_weight, DType::F32};
  s.gate_weight = operands(context, {&weight, 1}, int64_t{s.M} * s.C, s.C)[0];
}

// p_e = x_e Wp_e^T of all experts, x_e = h_e or, where `hub`, h_0.
inline void launch_projections(Context& context, const StitchForward& s, Weights proj, bool hub) {
  const int64_t NC = int64_t{s.N} * s.C;
  if (proj.empty()) return;
  if (s.N <= kGemvRows) {
    if (hub) launch_shared_gemv(context, s.projected, s.h, proj, s.N, s.C, s.C);
    else launch_gemv(context, s.projected, s.h + NC, proj, {}, {}, nullptr, s.N, s.C, s.C);
    return;
  }
  const auto weights = operands(context, proj, s.C, s.C);
  Gemm<act, act> gemm(s.N, s.C);
  for (size_t e = 0; e < weights.size(); e++) {
    gemm.group(s.projected + e * NC);
    gemm.add({hub ? s.h : s.h + (e + 1) * NC, s.C}, {weights[e], s.C}, s.C);
  }
  launch_gemm<Depth::Inner, Depth::Inner>(context, gemm);
}

// h_0 Wg^T of the members from `first` on, [N, M - first, C] in f32: for a few tokens.
inline const float* launch_logits(Context& context, const StitchForward& s, const float* gate_weight, int first) {
  const int64_t outputs = int64_t{s.M - first} * s.C;
  float* const logits = context.scratch().take<float>(s.N * outputs);
  const Weight weight{gate_weight + first * int64_t{s.C} * s.C, DType::F32};
  launch_shared_gemv(context, logits, s.h, {&weight, 1}, s.N, s.C, outputs);
  return logits;
}

inline void launch_token_gates(const Context& context, const StitchForward& s, const float* gate_weight,
                               bool is_softmax) {
  with_width(s.C, {s.h, gate_weight}, [&](auto width) {
    GPU_LAUNCH(context, token_gates_kernel<width>, dim3(ceil_div(s.N, kTokens * kThreads / 32)), dim3(kThreads), 0, s,
               gate_weight, is_softmax);
  });
}

// Whether every row that tiles read begins on 16 bytes. `projections`: they read the weights of those.
inline bool is_aligned(const StitchForward& s, bool projections) {
  const auto aligned = [&](const act* data) { return Matrix<act>{data, s.C}.aligned(); };
  return aligned(s.h) && aligned(s.gate_weight) && (!projections || std::all_of(s.proj, s.proj + s.M - 1, aligned));
}

// `results` stand side by side.
template <class S>
void order_tiles(const Context& context, StitchForward& s, const Operands& read, int results) {
  s.order = read.order(context.l2_bytes(), ceil_div(s.N, S::kM), ceil_div(s.C, S::kN) * results);
}
inline dim3 grid_of(const Context& context, const StitchForward& s) {
  return persistent(context, int64_t{s.order.tile_rows} * s.order.tile_cols);
}

#if defined(BTS_HOPPER) && defined(BTS_BF16)

struct StitchMaps {
  TensorMap h, gate[kStitchMembers], proj[kExperts];
};

// `projections`: the tiles read those, too.
template <class S, class Kernel>
void launch_on_hopper(const Context& context, StitchForward s, const Operands& read, int results, bool projections,
                      Kernel kernel) {
  using Ring = cuda::Ring<Depth::Inner, Depth::Inner, S>;
  order_tiles<S>(context, s, read, results);
  StitchMaps maps;
  const auto weight = [&](const act* data) { return tensor_map(data, s.C, s.C, s.C, Ring::kRightBox); };
  maps.h = tensor_map(s.h, s.N, s.C, s.C, Ring::kLeftBox);
  for (int m = 0; m < s.M; m++) maps.gate[m] = weight(s.gate_weight + m * int64_t{s.C} * s.C);
  for (int e = 0; projections && e + 1 < s.M; e++) maps.proj[e] = weight(s.proj[e]);
  GPU_LAUNCH(context, kernel, grid_of(context, s), dim3(Ring::kThreads), Ring::kBytes, s, maps);
}

#endif

}  // namespace

}  // namespace bts::cuda::BTS_PRECISION
