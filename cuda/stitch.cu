// Forward of both stitch layers, each one kernel: a block owns a tile of tokens x channels and takes it from the hidden
// states to the mixed result. Written are the result and what the backward reads: gates [N,M,G] (after softmax or
// sigmoid) and projections [E,N,C]. Logits never leave the registers.
#include "../native/error.h"
#include "cuda_ops.h"
#include "drop.cuh"
#include "gemm/gemm.cuh"
#include "gemm/operands.h"
#include "gemm/tile_order.cuh"
#include "stitch_tiles.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kExperts = kStitchMembers - 1;

struct Arguments {
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
__device__ __forceinline__ void for_pairs(int row0, int col0, const Arguments& s, F&& f) {
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
__device__ __forceinline__ int64_t gate_index(const Arguments& s, int row, int m, int col) {
  return (int64_t{row} * s.M + m) * s.G + (s.G == 1 ? 0 : col);
}

__device__ __forceinline__ float logit(const Arguments& s, float z, int row, int m, int col) {
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
__global__ void __launch_bounds__(256) token_gates_kernel(const __grid_constant__ Arguments s, const float* weight,
                                                          bool is_softmax) {
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

// hub = g_0 h_0 + sum over e of g_e p_e, g = softmax over members of dropout(h_0 Wg^T + bg), p_e = h_e Wp_e^T.
// First the logits of all members, which share h_0, in one pass; softmax; then one projection after the other, mixed in
// as it is done, rounded as it is stored: nothing depends on how many of them are ready. All at once would hold 2 M - 1
// tiles of sums instead of M + 1, and smaller tiles read more from L2.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) mix_kernel(const __grid_constant__ Arguments s) {
  DYNAMIC_SHARED(shared);
  const int64_t NC = int64_t{s.N} * s.C;
  for (int tile = blockIdx.x; tile < s.order.tile_rows * s.order.tile_cols; tile += gridDim.x) {
    const Tile at = s.order.at(tile);
    const int row0 = at.row * S::kM, col0 = at.col * S::kN;

    float g[S::kB][S::kI][S::kJ][4] = {};
    if (s.G != 1)
      block_product<act, Depth::Inner, Depth::Inner, S>(
          g, shared, {s.h, s.C}, [&](int m) -> Matrix<act> { return {s.gate_weight + m * int64_t{s.C} * s.C, s.C}; },
          s.M, row0, s.N, col0, s.C, s.C);
    for_pairs<S>(row0, col0, s, [&](int i, int j, int e, int row, int col, bool pair) {
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (c == 1 && !pair) break;
        float z[S::kB];
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M)
            z[m] =
                s.G != 1 ? logit(s, g[m][i][j][e + c], row, m, col + c) : to_float(s.gates[gate_index(s, row, m, 0)]);
        if (s.G != 1) softmax(z, s.M);
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M) g[m][i][j][e + c] = z[m];
      }
      if (s.G != 1)
#pragma unroll
        for (int m = 0; m < S::kB; m++)
          if (m < s.M) store_pair<true>(s.gates + gate_index(s, row, m, col), g[m][i][j][e], g[m][i][j][e + 1], pair);
      const int64_t index = int64_t{row} * s.C + col;
      g[0][i][j][e] *= to_float(s.h[index]);  // from here on slot 0 holds the mix
      if (pair) g[0][i][j][e + 1] *= to_float(s.h[index + 1]);
    });

    for (int e = 0; e + 1 < s.M; e++) {
      act* const projected = s.projected + e * NC;
      float p[1][S::kI][S::kJ][4] = {};
      if (e >= s.ahead)
        block_product<act, Depth::Inner, Depth::Inner, OneOf<S>>(
            p, shared, {s.h + (e + 1) * NC, s.C}, [&](int) -> Matrix<act> { return {s.proj[e], s.C}; }, 1, row0, s.N,
            col0, s.C, s.C);
      for_pairs<S>(row0, col0, s, [&](int i, int j, int k, int row, int col, bool pair) {
        act* const at = projected + int64_t{row} * s.C + col;
        float* const sums = &p[0][i][j][k];
        if (e >= s.ahead) {
          store_pair<true>(at, sums[0], sums[1], pair);
          for (int c = 0; c < 2; c++) sums[c] = to_float(from_float<act>(sums[c]));
        } else {
          sums[0] = to_float(at[0]);
          if (pair) sums[1] = to_float(at[1]);
        }
      });
      // The next expert's gates move to slot 1: registers have no run-time index.
#pragma unroll
      for (int i = 0; i < S::kI; i++)
#pragma unroll
        for (int j = 0; j < S::kJ; j++)
#pragma unroll
          for (int k = 0; k < 4; k++) {
            g[0][i][j][k] = fmaf(g[1][i][j][k], p[0][i][j][k], g[0][i][j][k]);
#pragma unroll
            for (int m = 1; m + 1 < S::kB; m++) g[m][i][j][k] = g[m + 1][i][j][k];
          }
    }
    for_pairs<S>(row0, col0, s, [&](int i, int j, int e, int row, int col, bool pair) {
      store_pair<true>(s.out + int64_t{row} * s.C + col, g[0][i][j][e], g[0][i][j][e + 1], pair);
    });
  }
}

// out_0 = h_0;  out_e = h_e + g_e (p_e - h_e), g_e = sigmoid(dropout(h_0 Wg_e^T + bg_e)), p_e = h_0 Wp_e^T.
// Gate and projection of one expert share h_0 and are summed together. The experts' tiles stand side by side, one expert
// after the other: each weight passes by once for every band of h_0.
__global__ void __launch_bounds__(Blend::kThreads, 1) blend_kernel(const __grid_constant__ Arguments s) {
  using S = Blend;
  DYNAMIC_SHARED(shared);
  const int tile_cols = ceil_div(s.C, S::kN);
  const int64_t NC = int64_t{s.N} * s.C;
  for (int tile = blockIdx.x; tile < s.order.tile_rows * s.order.tile_cols; tile += gridDim.x) {
    const Tile at = s.order.at(tile);
    const int row0 = at.row * S::kM, col0 = at.col % tile_cols * S::kN, e = at.col / tile_cols;
    float sums[2][S::kI][S::kJ][4] = {};  // projection and logit
    block_product<act, Depth::Inner, Depth::Inner, S>(
        sums, shared, {s.h, s.C},
        [&](int b) -> Matrix<act> { return {b == 0 ? s.proj[e] : s.gate_weight + (e + 1) * int64_t{s.C} * s.C, s.C}; },
        s.G == 1 ? 1 : 2, row0, s.N, col0, s.C, s.C);
    for_pairs<S>(row0, col0, s, [&](int i, int j, int k, int row, int col, bool pair) {
      const int64_t index = (e + 1) * NC + int64_t{row} * s.C + col;
      float gate[2] = {}, out[2] = {};
#pragma unroll
      for (int c = 0; c < 2; c++) {
        if (c == 1 && !pair) break;
        gate[c] = s.G == 1 ? to_float(s.gates[gate_index(s, row, e + 1, 0)])
                           : sigmoid(logit(s, sums[1][i][j][k + c], row, e + 1, col + c));
        const float own = to_float(s.h[index + c]);
        out[c] = fmaf(gate[c], sums[0][i][j][k + c] - own, own);
      }
      if (s.G != 1) store_pair<true>(s.gates + gate_index(s, row, e + 1, col), gate[0], gate[1], pair);
      store_pair<true>(s.projected + index - NC, sums[0][i][j][k], sums[0][i][j][k + 1], pair);
      store_pair<true>(s.out + index, out[0], out[1], pair);
      if (e > 0) return;
      // Slot 0: the hub goes on as it is, and its gate is never read.
      const act* const hub = s.h + index - NC;
      store_pair<true>(s.out + index - NC, to_float(hub[0]), pair ? to_float(hub[1]) : 0.0f, pair);
      if (s.G != 1) store_pair<true>(s.gates + gate_index(s, row, 0, col), 0, 0, pair);
    });
  }
}

Arguments arguments(Context& context, act* out, act* gates, act* projected, const act* h, const float* gate_weight,
                    const float* gate_bias, Weights proj, const StitchSize& s, bool is_softmax) {
  if (s.M > kStitchMembers)
    throw Error("BAD_SHAPE", "a stitch layer on CUDA takes at most " + std::to_string(kStitchMembers) +
                                 " members, not " + std::to_string(s.M));
  context.scratch().reset();
  Arguments a{.out = out,
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

// Projections of the first experts, by a product of their own: while one weight stays in the L2 cache, tokens pass by.
void launch_projections(Context& context, const Arguments& a) {
  Gemm<act, act> gemm(a.N, a.C);
  for (int64_t e = 0; e < a.ahead; e++) {
    gemm.group(a.projected + e * a.N * a.C);
    gemm.add({a.h + (e + 1) * a.N * a.C, a.C}, {a.proj[e], a.C}, a.C);
  }
  launch_gemm<Depth::Inner, Depth::Inner>(context, gemm);
}

template <class S>
void launch(Context& context, void (*kernel)(const Arguments), Arguments a, const Operands& read, int results,
            int blocks) {
  a.order = read.order(context.l2_bytes(), ceil_div(a.N, S::kM), ceil_div(a.C, S::kN) * results);
  const int tiles = a.order.tile_rows * a.order.tile_cols;
  GPU_LAUNCH(context, kernel, dim3(std::min(tiles, blocks * context.multiprocessors())), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), a);
}

}  // namespace

void CudaOps::run(const ExpertsIntoHubForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, hub, gates, projected, size] = op;
  Arguments a = arguments(context_, hub, gates, projected, h, gate_weight, gate_bias, proj, size, true);
  const MixTraffic traffic{size, sizeof(act)};
  a.ahead = traffic.experts_ahead(context_.l2_bytes());
  if (a.ahead > 0) launch_projections(context_, a);
  const Operands read = traffic.mix(a.ahead);
  if (size.M <= MixOf4::kB) launch<MixOf4>(context_, mix_kernel<MixOf4>, a, read, 1, 1);
  else if (size.M <= MixOf8::kB) launch<MixOf8>(context_, mix_kernel<MixOf8>, a, read, 1, 1);
  else launch<MixOf16>(context_, mix_kernel<MixOf16>, a, read, 1, 1);
}

void CudaOps::run(const HubIntoExpertsForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, out, gates, projected, size] = op;
  const Arguments a = arguments(context_, out, gates, projected, h, gate_weight, gate_bias, proj, size, false);
  if (size.M > 1) return launch<Blend>(context_, blend_kernel, a, blend_operands(size, sizeof(act)), size.M - 1, 1);
  // A hub alone goes on as it is.
  const size_t bytes = size.N * size.C * sizeof(act);
  CUDA_EXPECT(cudaMemcpyAsync(out, h, bytes, cudaMemcpyDeviceToDevice, context_.stream()));
  CUDA_EXPECT(cudaMemsetAsync(gates, 0, size.N * size.G * sizeof(act), context_.stream()));
}

}  // namespace bts::cuda::BTS_PRECISION
