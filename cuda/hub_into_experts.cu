#include "stitch_forward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// Where member m's stream of a token is, from channel `col` on.
__device__ __forceinline__ const act* stream(const StitchForward& s, int m, int row, int col) {
  return s.h + m * (int64_t{s.N} * s.C) + int64_t{row} * s.C + col;
}

// out_e = h_e + g_e (p_e - h_e), g_e = sigmoid(dropout(h_0 Wg_e^T + bg_e)), for `count` channels of a token from `col` on. z:
// h_0 Wg_e^T, unless there is one gate for a token; p: p_e. With the first expert slot 0 is written: the hub goes on as it
// is, and its gate is never read. own: h_e.
template <int width>
__device__ __forceinline__ void blend(const StitchForward& s, int e, int row, int col, int count, bool whole,
                                      float (&z)[width], const float (&p)[width], const float (&own)[width]) {
  const int64_t NC = int64_t{s.N} * s.C, index = (e + 1) * NC + int64_t{row} * s.C + col;
  float out[width];
  if (s.G != 1) finish_logits(s, z, row, e + 1, col, count);
  const float one = s.G == 1 ? to_float(s.gates[gate_index(s, row, e + 1, 0)]) : 0.0f;
#pragma unroll
  for (int i = 0; i < width; i++) {
    z[i] = s.G == 1 ? one : sigmoid(z[i]);
    out[i] = fmaf(z[i], p[i] - own[i], own[i]);
  }
  if (s.G != 1) stream_pack(s.gates + gate_index(s, row, e + 1, col), z, count, whole);
  stream_pack(s.out + index, out, count, whole);
  if (e > 0) return;
  load_pack(out, stream(s, 0, row, col), count, whole);
#pragma unroll
  for (int i = 0; i < width; i++) z[i] = 0;
  stream_pack(s.out + index - NC, out, count, whole);
  if (s.G != 1) stream_pack(s.gates + gate_index(s, row, 0, col), z, count, whole);
}

// sums: projection and logit. The experts' tiles stand side by side.
template <class S>
__device__ __forceinline__ void finish_blend(const StitchForward& s, const Sums<S>* sums, float* staging, int e,
                                             int row0, int col0) {
  constexpr int kWidth = kPack<2, act>;
  const bool aligned = packs_aligned<kWidth>(s);
  const auto place = [&](int r, int c, auto&& f) {
    const int row = row0 + r, col = col0 + c, count = min(s.C - col, kWidth);
    if (row < s.N && count > 0) f(row, col, count, aligned && count == kWidth);
  };
  const auto fetch = [&](int r, int c) {
    Fetched<act, kWidth> own{};
    place(r, c, [&](int row, int col, int count, bool whole) { own.fetch(stream(s, e + 1, row, col), count, whole); });
    return own;
  };
  for_packs<S, 2, act>(sums, staging, fetch, [&](int r, int c, float (&z)[2][kWidth], const auto& fetched) {
    place(r, c, [&](int row, int col, int count, bool whole) {
      float own[kWidth];
      fetched.widen(own);
      stream_pack(s.projected + (int64_t{e} * s.N + row) * s.C + col, z[0], count, whole);
      blend(s, e, row, col, count, whole, z[1], z[0], own);
    });
  });
}

// Gate and projection of one expert share h_0 and are summed together. The experts' tiles stand side by side, one expert
// after the other: each weight passes by once for every band of h_0.
template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) blend_kernel(const __grid_constant__ StitchForward s) {
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
    finish_blend<S>(s, sums, pipeline.staging(), tile.corner().col / width, tile.corner().row,
                    tile.corner().col % width);
  }
}

// What follows a token's gate, or logits [N,E,C] that were made before.
template <int width>
__global__ void __launch_bounds__(kThreads) blend_rows_kernel(const __grid_constant__ StitchForward s,
                                                              const float* logits) {
  const int64_t i = grid_thread() * width;
  if (i >= int64_t{s.N} * s.C) return;
  const int row = i / s.C, col = i % s.C;
  for (int e = 0; e + 1 < s.M; e++) {
    float z[width] = {}, p[width], own[width];
    if (logits) load(z, logits + (int64_t{row} * (s.M - 1) + e) * s.C + col);
    load(p, s.projected + int64_t{e} * s.N * s.C + i);
    load(own, stream(s, e + 1, row, col));
    blend(s, e, row, col, width, true, z, p, own);
  }
}

#if defined(BTS_HOPPER) && defined(BTS_BF16)

template <class S>
__global__ void __launch_bounds__((Ring<Depth::Inner, Depth::Inner, S>::kThreads), 1) hopper_blend_kernel(
    const __grid_constant__ StitchForward s, const __grid_constant__ StitchMaps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  const int width = ceil_div(s.C, S::kN) * S::kN;  // of one expert's tiles
  Ring<Depth::Inner, Depth::Inner, S> ring(shared, s.order);
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
    finish_blend<S>(s, sums, ring.staging(), tile.corner().col / width, tile.corner().row, tile.corner().col % width);
  }
#endif
}

#endif

void launch_rows(const Context& context, const StitchForward& s, const float* logits) {
  with_width(s.C, {s.out, s.gates, s.projected, s.h, logits}, [&](auto width) {
    const dim3 grid(ceil_div(int64_t{s.N} * s.C, kThreads * width));
    GPU_LAUNCH(context, blend_rows_kernel<width>, grid, dim3(kThreads), 0, s, logits);
  });
}

template <class S>
void launch_blend(const Context& context, StitchForward s, const Operands& read) {
  order_tiles<S>(context, s, read, s.M - 1);
  GPU_LAUNCH(context, blend_kernel<S>, grid_of(context, s), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}

}  // namespace

void CudaOps::run(const HubIntoExpertsForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, out, gates, projected, size] = op;
  StitchForward s = stitch_forward(context_, out, gates, projected, h, gate_bias, size);
  if (size.M == 1) {  // a hub alone goes on as it is
    const size_t bytes = size.N * size.C * sizeof(act);
    CUDA_EXPECT(cudaMemcpyAsync(out, h, bytes, cudaMemcpyDeviceToDevice, context_.stream()));
    CUDA_EXPECT(cudaMemsetAsync(gates, 0, size.N * size.G * sizeof(act), context_.stream()));
    return;
  }
  if (size.G == 1 || size.N <= kGemvRows) {
    launch_projections(context_, s, proj, true);
    if (size.G != 1) return launch_rows(context_, s, launch_logits(context_, s, gate_weight, 1));
    launch_token_gates(context_, s, gate_weight, false);
    return launch_rows(context_, s, nullptr);
  }
  round_gates(context_, s, gate_weight);
  const auto projections = operands(context_, proj, size.C, size.C);
  std::copy(projections.begin(), projections.end(), s.proj);
  const Operands read = blend_operands(size, sizeof(act));
  const bool aligned = is_aligned(s, true);
#if defined(BTS_HOPPER) && defined(BTS_BF16)
  if (aligned && context_.hopper())
    return launch_on_hopper<HopperGated>(context_, s, read, s.M - 1, true, hopper_blend_kernel<HopperGated>);
#endif
  with_tile<act, WideGated, LargeGated, LargeGated>(context_, aligned, size.N, size.C, size.M - 1, [&](auto tile) {
    launch_blend<decltype(tile)>(context_, s, read);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
