// What the forward of both stitch layers shares. Each is one kernel: a block owns a tile of tokens x channels and takes it
// from the hidden states to the mixed result. Written are the result and what the backward reads: gates [N,M,G] (after softmax
// or sigmoid) and projections [E,N,C]. Logits never leave the registers.
#pragma once

#include "../native/error.h"
#include "cuda_ops.h"
#include "drop.cuh"
#include "gemm/gemm.cuh"
#include "gemm/operands.h"
#include "gemm/tile_order.cuh"
#include "stitch_tiles.h"

namespace bts::cuda::BTS_PRECISION {

constexpr int kExperts = kStitchMembers - 1;

struct StitchForward {
  act *out, *gates, *projected;
  const act *h, *gate_weight;  // [M,N,C]  [M,G,C]
  const float* gate_bias;      // [M,G] or null
  const act* proj[kExperts];
  Dropping dropping;  // of the logits
  int M, N, C, G;
  int ahead;  // experts whose projections stand in `projected` already
  TileOrder order;
};

// What a tile's epilogue does for every pair of channels that a thread holds: f(i, j, e, row, col, pair), where the
// second channel exists only if `pair`.
template <class S, class F>
__device__ __forceinline__ void for_pairs(int row0, int col0, const StitchForward& s, F&& f) {
#pragma unroll
  for (int i = 0; i < S::kI; i++)
#pragma unroll
    for (int j = 0; j < S::kJ; j++)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        const int row = row0 + S::row(i, e), col = col0 + S::col(j, e);
        if (row < s.N && col < s.C) f(i, j, e, row, col, col + 1 < s.C);
      }
}

// Where gate (row, m, col) stands in gates.
__device__ __forceinline__ int64_t gate_index(const StitchForward& s, int row, int m, int col) {
  return (int64_t{row} * s.M + m) * s.G + (s.G == 1 ? 0 : col);
}

__device__ __forceinline__ float logit(const StitchForward& s, float z, int row, int m, int col) {
  if (s.gate_bias) z += s.gate_bias[m * s.G + (s.G == 1 ? 0 : col)];
  return drop(s.dropping, z, gate_index(s, row, m, col));
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
#pragma unroll
  for (int m = 0; m < kMembers; m++)
    if (m < M) g[m] /= sum;
}

// One gate for all channels of a token. gates[n,m] = softmax (or sigmoid, from member 1 on) of dropout(h_0 Wg^T + bg).
// Weights are read in f32 where they are; one warp owns a token.
static __global__ void __launch_bounds__(256) token_gates_kernel(const __grid_constant__ StitchForward s,
                                                                 const float* weight, bool is_softmax) {
  const int row = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= s.N) return;
  float g[kStitchMembers] = {};
  for (int c = lane; c < s.C; c += 32) {
    const float x = to_float(s.h[int64_t{row} * s.C + c]);
#pragma unroll
    for (int m = 0; m < kStitchMembers; m++)
      if (m < s.M) g[m] = fmaf(x, weight[int64_t{m} * s.C + c], g[m]);
  }
#pragma unroll
  for (int m = 0; m < kStitchMembers; m++) {
    for (int step = 16; step > 0; step /= 2) g[m] += __shfl_xor_sync(0xffffffffu, g[m], step);
    if (m < s.M) g[m] = logit(s, g[m], row, m, 0);
  }
  if (is_softmax) softmax(g, s.M);
#pragma unroll
  for (int m = 0; m < kStitchMembers; m++)
    if (m < s.M && lane == m)
      s.gates[int64_t{row} * s.M + m] = from_float<act>(is_softmax ? g[m] : m ? sigmoid(g[m]) : 0.0f);
}

inline StitchForward stitch_forward(Context& context, act* out, act* gates, act* projected, const act* h,
                                    const float* gate_weight, const float* gate_bias, Weights proj, const StitchSize& s,
                                    bool is_softmax) {
  if (s.M > kStitchMembers)
    throw Error("BAD_SHAPE", "a stitch layer on CUDA takes at most " + std::to_string(kStitchMembers) +
                                 " members, not " + std::to_string(s.M));
  context.scratch().reset();
  StitchForward a{.out = out,
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
                  .ahead = 0,
                  .order = {}};
  const auto projections = operands(context, proj, s.C * s.C);
  std::copy(projections.begin(), projections.end(), a.proj);
  if (s.G == 1) {
    GPU_LAUNCH(context, token_gates_kernel, dim3(ceil_div(s.N, 8)), dim3(256), 0, a, gate_weight, is_softmax);
  } else {
    const Weight weight{gate_weight, DType::F32};
    a.gate_weight = operands(context, {&weight, 1}, s.M * s.C * s.C)[0];
  }
  return a;
}

template <class S>
void launch_stitch(Context& context, void (*kernel)(const StitchForward), StitchForward a, const Operands& read,
                   int results, int blocks) {
  a.order = read.order(context.l2_bytes(), ceil_div(a.N, S::kM), ceil_div(a.C, S::kN) * results);
  const int tiles = a.order.tile_rows * a.order.tile_cols;
  GPU_LAUNCH(context, kernel, dim3(std::min(tiles, blocks * context.multiprocessors())), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), a);
}

}  // namespace bts::cuda::BTS_PRECISION
