// Forward of both stitch layers. Written are the result and what the backward reads: gates [N,M,G] (after softmax or
// sigmoid) and projections [E,N,C]. With a gate for every channel a block owns a tile of tokens x channels and takes it from
// the hidden states to the mixed result: logits never leave the registers. A few tokens stream through the weights instead,
// in the weights' own precision, and a gate for a whole token is so little that what follows it is bound by memory.
#include "../native/error.h"
#include "cuda_ops.h"
#include "drop.cuh"
#include "gemm/epilogue.cuh"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/operands.h"
#include "gemm/ring.cuh"
#include "gemm/tile_walk.cuh"
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
  TileOrder order;
};

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

// Whether the packs of all that a stitch reads and writes lie on their own size.
template <int width>
__device__ __forceinline__ bool packs_aligned(const Arguments& s) {
  const auto addresses = reinterpret_cast<uintptr_t>(s.out) | reinterpret_cast<uintptr_t>(s.gates) |
                         reinterpret_cast<uintptr_t>(s.projected) | reinterpret_cast<uintptr_t>(s.h);
  return s.C % width == 0 && addresses % 16 == 0;
}

// hub = g_0 h_0 + sum over e of g_e p_e, g = softmax over members of dropout(h_0 Wg^T + bg), for `count` channels of a token
// from `col` on. z: h_0 Wg^T of every member, or where there is one gate for a token nothing: it is in `gates`.
template <int kMembers, int width>
__device__ __forceinline__ void mix(const Arguments& s, int row, int col, int count, bool aligned,
                                    float (&z)[kMembers][width]) {
  const int64_t NC = int64_t{s.N} * s.C, index = int64_t{row} * s.C + col;
  const bool whole = aligned && count == width;
  float sum[width] = {};
  if (s.G != 1) {
#pragma unroll
    for (int i = 0; i < width; i++) {
      float g[kMembers];
#pragma unroll
      for (int m = 0; m < kMembers; m++)
        if (m < s.M && i < count) g[m] = logit(s, z[m][i], row, m, col + i);
      if (i < count) softmax(g, s.M);
#pragma unroll
      for (int m = 0; m < kMembers; m++) z[m][i] = m < s.M && i < count ? g[m] : 0.0f;
    }
  }
#pragma unroll
  for (int m = 0; m < kMembers; m++) {
    if (m >= s.M) break;
    if (s.G != 1) {
      stream_pack(s.gates + gate_index(s, row, m, col), z[m], count, whole);
    } else {
      const float g = to_float(s.gates[gate_index(s, row, m, 0)]);
#pragma unroll
      for (int i = 0; i < width; i++) z[m][i] = g;
    }
    float x[width];
    load_pack(x, m == 0 ? s.h + index : s.projected + (m - 1) * NC + index, count, whole);
#pragma unroll
    for (int i = 0; i < width; i++) sum[i] = fmaf(z[m][i], x[i], sum[i]);
  }
  stream_pack(s.out + index, sum, count, whole);
}

// out_e = h_e + g_e (p_e - h_e), g_e = sigmoid(dropout(h_0 Wg_e^T + bg_e)), for `count` channels of a token from `col` on. z:
// h_0 Wg_e^T, unless there is one gate for a token; p: p_e. With the first expert slot 0 is written: the hub goes on as it
// is, and its gate is never read.
template <int width>
__device__ __forceinline__ void blend(const Arguments& s, int e, int row, int col, int count, bool aligned,
                                      const float (&z)[width], const float (&p)[width]) {
  const int64_t NC = int64_t{s.N} * s.C, index = (e + 1) * NC + int64_t{row} * s.C + col;
  const bool whole = aligned && count == width;
  float gate[width] = {}, out[width];
  load_pack(out, s.h + index, count, whole);
#pragma unroll
  for (int i = 0; i < width; i++) {
    if (i >= count) break;
    gate[i] = s.G == 1 ? to_float(s.gates[gate_index(s, row, e + 1, 0)]) : sigmoid(logit(s, z[i], row, e + 1, col + i));
    out[i] = fmaf(gate[i], p[i] - out[i], out[i]);
  }
  if (s.G != 1) stream_pack(s.gates + gate_index(s, row, e + 1, col), gate, count, whole);
  stream_pack(s.out + index, out, count, whole);
  if (e > 0) return;
  const int64_t hub = index - NC;
  load_pack(out, s.h + hub, count, whole);
  stream_pack(s.out + hub, out, count, whole);
  if (s.G == 1) return;
#pragma unroll
  for (int i = 0; i < width; i++) gate[i] = 0;
  stream_pack(s.gates + gate_index(s, row, 0, col), gate, count, whole);
}

template <class S>
__device__ __forceinline__ void finish_mix(const Arguments& s, const Sums<S>* logits, const Tile& corner) {
  const bool aligned = packs_aligned<kPack<S>>(s);
  for_packs<S, S::kB>(logits, [&](int r, int c, float (&z)[S::kB][kPack<S>]) {
    const int row = corner.row + r, col = corner.col + c, count = min(s.C - col, kPack<S>);
    if (row < s.N && count > 0) mix(s, row, col, count, aligned, z);
  });
}

// sums: projection and logit. The experts' tiles stand side by side.
template <class S>
__device__ __forceinline__ void finish_blend(const Arguments& s, const Sums<S>* sums, int e, int row0, int col0) {
  const bool aligned = packs_aligned<kPack<S>>(s);
  for_packs<S, 2>(sums, [&](int r, int c, float (&x)[2][kPack<S>]) {
    const int row = row0 + r, col = col0 + c, count = min(s.C - col, kPack<S>);
    if (row >= s.N || count <= 0) return;
    stream_pack(s.projected + (int64_t{e} * s.N + row) * s.C + col, x[0], count, aligned && count == kPack<S>);
    blend(s, e, row, col, count, aligned, x[1], x[0]);
  });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) mix_kernel(const __grid_constant__ Arguments s) {
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  Walk loads(s.order, 1, s.C);
  const auto ahead = [&](act* stage) {
    if (!loads.more()) return;
    Stage::load(
        stage, {s.h, s.C}, [&](int m) -> Matrix<act> { return {s.gate_weight + m * int64_t{s.C} * s.C, s.C}; }, s.M,
        loads.corner().row, s.N, loads.corner().col, s.C, loads.depth(), s.C);
    loads.next_step();
  };
  Pipeline<act, Depth::Inner, Depth::Inner, S, decltype(ahead)> pipeline(shared, ahead);
  for (Walk tile(s.order, 1, s.C); tile.more(); tile.next_tile()) {
    Sums<S> logits[S::kB] = {};
    pipeline.template multiply<S::kB>(logits, Stage::steps(s.C), s.M);
    finish_mix<S>(s, logits, tile.corner());
  }
}

// Gate and projection of one expert share h_0 and are summed together. The experts' tiles stand side by side, one expert
// after the other: each weight passes by once for every band of h_0.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) blend_kernel(const __grid_constant__ Arguments s) {
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  const int width = ceil_div(s.C, S::kN) * S::kN;  // of one expert's tiles
  Walk loads(s.order, 1, s.C);
  const auto ahead = [&](act* stage) {
    if (!loads.more()) return;
    const int e = loads.corner().col / width;
    Stage::load(
        stage, {s.h, s.C},
        [&](int b) -> Matrix<act> { return {b == 0 ? s.proj[e] : s.gate_weight + (e + 1) * int64_t{s.C} * s.C, s.C}; },
        2, loads.corner().row, s.N, loads.corner().col % width, s.C, loads.depth(), s.C);
    loads.next_step();
  };
  Pipeline<act, Depth::Inner, Depth::Inner, S, decltype(ahead)> pipeline(shared, ahead);
  for (Walk tile(s.order, 1, s.C); tile.more(); tile.next_tile()) {
    Sums<S> sums[2] = {};
    pipeline.template multiply<2>(sums, Stage::steps(s.C));
    finish_blend<S>(s, sums, tile.corner().col / width, tile.corner().row, tile.corner().col % width);
  }
}

// What follows a token's gate, or logits [N,M,C] (of experts [N,E,C] for Hub-into-Experts) that were made before.
template <int kMembers, int width>
__global__ void __launch_bounds__(kThreads) mix_rows_kernel(const __grid_constant__ Arguments s, const float* logits) {
  const int64_t i = grid_thread() * width;
  if (i >= int64_t{s.N} * s.C) return;
  const int row = i / s.C, col = i % s.C;
  float z[kMembers][width] = {};
  if (logits)
#pragma unroll
    for (int m = 0; m < kMembers; m++)
      if (m < s.M) load(z[m], logits + (int64_t{row} * s.M + m) * s.C + col);
  mix(s, row, col, width, true, z);
}
template <int width>
__global__ void __launch_bounds__(kThreads) blend_rows_kernel(const __grid_constant__ Arguments s,
                                                              const float* logits) {
  const int64_t i = grid_thread() * width;
  if (i >= int64_t{s.N} * s.C) return;
  const int row = i / s.C, col = i % s.C;
  for (int e = 0; e + 1 < s.M; e++) {
    float z[width] = {}, p[width];
    if (logits) load(z, logits + (int64_t{row} * (s.M - 1) + e) * s.C + col);
    load(p, s.projected + int64_t{e} * s.N * s.C + i);
    blend(s, e, row, col, width, true, z, p);
  }
}

#if defined(BTS_HOPPER) && defined(BTS_BF16)

struct Maps {
  TensorMap h, gate[kStitchMembers], proj[kExperts];
};

template <class S>
__global__ void __launch_bounds__((Ring<Depth::Inner, Depth::Inner, S>::kThreads), 1) hopper_mix_kernel(
    const __grid_constant__ Arguments s, const __grid_constant__ Maps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  Ring<Depth::Inner, Depth::Inner, S> ring(shared);
  if (ring.loads()) {
    keep_registers<kLoadingRegisters>();
    if (threadIdx.x != S::kThreads) return;
    for (Walk loads(s.order, 1, s.C); loads.more(); loads.next_step())
      ring.load(
          maps.h, [&](int m) -> const TensorMap& { return maps.gate[m]; }, loads.corner().row, loads.corner().col,
          loads.depth(), s.M);
    return;
  }
  claim_registers<kMultiplyingRegisters>();
  for (Walk tile(s.order, 1, s.C); tile.more(); tile.next_tile()) {
    Sums<S> logits[S::kB] = {};
    ring.multiply(logits, Stage::steps(s.C));
    finish_mix<S>(s, logits, tile.corner());
  }
#endif
}

template <class S>
__global__ void __launch_bounds__((Ring<Depth::Inner, Depth::Inner, S>::kThreads), 1) hopper_blend_kernel(
    const __grid_constant__ Arguments s, const __grid_constant__ Maps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  const int width = ceil_div(s.C, S::kN) * S::kN;  // of one expert's tiles
  Ring<Depth::Inner, Depth::Inner, S> ring(shared);
  if (ring.loads()) {
    keep_registers<kLoadingRegisters>();
    if (threadIdx.x != S::kThreads) return;
    for (Walk loads(s.order, 1, s.C); loads.more(); loads.next_step()) {
      const int e = loads.corner().col / width;
      ring.load(
          maps.h, [&](int b) -> const TensorMap& { return b == 0 ? maps.proj[e] : maps.gate[e + 1]; },
          loads.corner().row, loads.corner().col % width, loads.depth());
    }
    return;
  }
  claim_registers<kMultiplyingRegisters>();
  for (Walk tile(s.order, 1, s.C); tile.more(); tile.next_tile()) {
    Sums<S> sums[2] = {};
    ring.multiply(sums, Stage::steps(s.C));
    finish_blend<S>(s, sums, tile.corner().col / width, tile.corner().row, tile.corner().col % width);
  }
#endif
}

#endif

// --- launches

Arguments arguments(Context& context, act* out, act* gates, act* projected, const act* h, const float* gate_bias,
                    const StitchSize& s) {
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
void round_gates(Context& context, Arguments& s, const float* gate_weight) {
  const Weight weight{gate_weight, DType::F32};
  s.gate_weight = operands(context, {&weight, 1}, int64_t{s.M} * s.C * s.C)[0];
}

// p_e = x_e Wp_e^T of all experts, x_e = h_e or, where `hub`, h_0.
void launch_projections(Context& context, const Arguments& s, Weights proj, bool hub) {
  const int64_t NC = int64_t{s.N} * s.C;
  if (proj.empty()) return;
  if (s.N <= kGemvRows) {
    if (hub) launch_shared_gemv(context, s.projected, s.h, proj, s.N, s.C, s.C);
    else launch_gemv(context, s.projected, s.h + NC, proj, {}, nullptr, s.N, s.C, s.C);
    return;
  }
  const auto weights = operands(context, proj, int64_t{s.C} * s.C);
  Gemm<act, act> gemm(s.N, s.C);
  for (size_t e = 0; e < weights.size(); e++) {
    gemm.group(s.projected + e * NC);
    gemm.add({hub ? s.h : s.h + (e + 1) * NC, s.C}, {weights[e], s.C}, s.C);
  }
  launch_gemm<Depth::Inner, Depth::Inner>(context, gemm);
}

// h_0 Wg^T of the members from `first` on, [N, M - first, C] in f32: for a few tokens.
const float* launch_logits(Context& context, const Arguments& s, const float* gate_weight, int first) {
  const int64_t outputs = int64_t{s.M - first} * s.C;
  float* const logits = context.scratch().take<float>(s.N * outputs);
  const Weight weight{gate_weight + first * int64_t{s.C} * s.C, DType::F32};
  launch_shared_gemv(context, logits, s.h, {&weight, 1}, s.N, s.C, outputs);
  return logits;
}

// Calls f with the number of members that kernels are made for and that M fits.
template <class F>
void with_members(int M, F&& f) {
  if (M <= 4) f(std::integral_constant<int, 4>());
  else if (M <= 8) f(std::integral_constant<int, 8>());
  else f(std::integral_constant<int, kStitchMembers>());
}

void launch_rows(const Context& context, const Arguments& s, const float* logits, bool is_mix) {
  with_width(s.C, {s.out, s.gates, s.projected, s.h, logits}, [&](auto width) {
    const dim3 grid(ceil_div(int64_t{s.N} * s.C, kThreads * width));
    if (!is_mix) return GPU_LAUNCH(context, blend_rows_kernel<width>, grid, dim3(kThreads), 0, s, logits);
    with_members(s.M, [&](auto members) {
      GPU_LAUNCH(context, (mix_rows_kernel<members, width>), grid, dim3(kThreads), 0, s, logits);
    });
  });
}

void launch_token_gates(const Context& context, const Arguments& s, const float* gate_weight, bool is_softmax) {
  GPU_LAUNCH(context, token_gates_kernel, dim3(ceil_div(s.N, 8)), dim3(256), 0, s, gate_weight, is_softmax);
}

// `results` stand side by side.
template <class S>
void order_tiles(const Context& context, Arguments& s, const Operands& read, int results) {
  s.order = read.order(context.l2_bytes(), ceil_div(s.N, S::kM), ceil_div(s.C, S::kN) * results);
}
dim3 grid_of(const Context& context, const Arguments& s) {
  return persistent(context, int64_t{s.order.tile_rows} * s.order.tile_cols);
}

template <class S>
void launch_mix(const Context& context, Arguments s, const Operands& read) {
  order_tiles<S>(context, s, read, 1);
  GPU_LAUNCH(context, mix_kernel<S>, grid_of(context, s), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}
template <class S>
void launch_blend(const Context& context, Arguments s, const Operands& read) {
  order_tiles<S>(context, s, read, s.M - 1);
  GPU_LAUNCH(context, blend_kernel<S>, grid_of(context, s), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}

// Takes the tiles on if this is a Hopper and the matrices can be mapped.
bool launched_on_hopper([[maybe_unused]] const Context& context, [[maybe_unused]] const Arguments& unordered,
                        [[maybe_unused]] const Operands& read, [[maybe_unused]] bool is_mix) {
#if defined(BTS_HOPPER) && defined(BTS_BF16)
  if (!context.hopper() || unordered.M > HopperMixOf8::kB || !Matrix<act>{unordered.h, unordered.C}.aligned())
    return false;
  const auto launch = [&](auto shape, auto kernel, int results) {
    using S = decltype(shape);
    using Ring = cuda::Ring<Depth::Inner, Depth::Inner, S>;
    Arguments s = unordered;
    order_tiles<S>(context, s, read, results);
    Maps maps;
    const auto weight = [&](const act* data) { return tensor_map(data, s.C, s.C, s.C, Ring::kRightBox); };
    maps.h = tensor_map(s.h, s.N, s.C, s.C, Ring::kLeftBox);
    for (int m = 0; m < s.M; m++) maps.gate[m] = weight(s.gate_weight + m * int64_t{s.C} * s.C);
    for (int e = 0; !is_mix && e + 1 < s.M; e++) {
      if (!Matrix<act>{s.proj[e], s.C}.aligned()) return false;
      maps.proj[e] = weight(s.proj[e]);
    }
    GPU_LAUNCH(context, kernel, grid_of(context, s), dim3(Ring::kThreads), Ring::kBytes, s, maps);
    return true;
  };
  if (!is_mix) return launch(HopperGated(), hopper_blend_kernel<HopperGated>, unordered.M - 1);
  if (unordered.M <= HopperMixOf4::kB) return launch(HopperMixOf4(), hopper_mix_kernel<HopperMixOf4>, 1);
  return launch(HopperMixOf8(), hopper_mix_kernel<HopperMixOf8>, 1);
#else
  return false;
#endif
}

}  // namespace

void CudaOps::run(const ExpertsIntoHubForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, hub, gates, projected, size] = op;
  Arguments s = arguments(context_, hub, gates, projected, h, gate_bias, size);
  launch_projections(context_, s, proj, false);
  if (size.G == 1) {
    launch_token_gates(context_, s, gate_weight, true);
    return launch_rows(context_, s, nullptr, true);
  }
  if (size.N <= kGemvRows) return launch_rows(context_, s, launch_logits(context_, s, gate_weight, 0), true);
  round_gates(context_, s, gate_weight);
  const Operands read = mix_operands(size, sizeof(act));
  if (launched_on_hopper(context_, s, read, true)) return;
  if (size.M > MixOf8::kB) return launch_mix<MixOf16>(context_, s, read);
  if (size.M > MixOf4::kB) return launch_mix<MixOf8>(context_, s, read);
  constexpr size_t wide = product_bytes<act, Depth::Inner, Depth::Inner, WideMixOf4>();
  if (wide <= context_.shared_bytes()) return launch_mix<WideMixOf4>(context_, s, read);
  launch_mix<MixOf4>(context_, s, read);
}

void CudaOps::run(const HubIntoExpertsForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, out, gates, projected, size] = op;
  Arguments s = arguments(context_, out, gates, projected, h, gate_bias, size);
  if (size.M == 1) {  // a hub alone goes on as it is
    const size_t bytes = size.N * size.C * sizeof(act);
    CUDA_EXPECT(cudaMemcpyAsync(out, h, bytes, cudaMemcpyDeviceToDevice, context_.stream()));
    CUDA_EXPECT(cudaMemsetAsync(gates, 0, size.N * size.G * sizeof(act), context_.stream()));
    return;
  }
  if (size.G == 1 || size.N <= kGemvRows) {
    launch_projections(context_, s, proj, true);
    if (size.G != 1) return launch_rows(context_, s, launch_logits(context_, s, gate_weight, 1), false);
    launch_token_gates(context_, s, gate_weight, false);
    return launch_rows(context_, s, nullptr, false);
  }
  round_gates(context_, s, gate_weight);
  const auto projections = operands(context_, proj, size.C * size.C);
  std::copy(projections.begin(), projections.end(), s.proj);
  const Operands read = blend_operands(size, sizeof(act));
  if (launched_on_hopper(context_, s, read, false)) return;
  with_tile<act, WideGated, LargeGated, LargeGated>(context_, size.N, size.C, size.M - 1, [&](auto tile) {
    launch_blend<decltype(tile)>(context_, s, read);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
