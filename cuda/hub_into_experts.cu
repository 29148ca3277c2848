#include "stitch_forward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// out_e = h_e + g_e (p_e - h_e), g_e = sigmoid(dropout(h_0 Wg_e^T + bg_e)), for `count` channels of a token from `col` on. z:
// h_0 Wg_e^T, unless there is one gate for a token; p: p_e. With the first expert slot 0 is written: the hub goes on as it
// is, and its gate is never read.
template <int width>
__device__ __forceinline__ void blend(const StitchForward& s, int e, int row, int col, int count, bool aligned,
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

// sums: projection and logit. The experts' tiles stand side by side.
template <class S>
__device__ __forceinline__ void finish_blend(const StitchForward& s, const Sums<S>* sums, int e, int row0, int col0) {
  const bool aligned = packs_aligned<kPack<S>>(s);
  for_packs<S, 2>(sums, [&](int r, int c, float (&x)[2][kPack<S>]) {
    const int row = row0 + r, col = col0 + c, count = min(s.C - col, kPack<S>);
    if (row >= s.N || count <= 0) return;
    stream_pack(s.projected + (int64_t{e} * s.N + row) * s.C + col, x[0], count, aligned && count == kPack<S>);
    blend(s, e, row, col, count, aligned, x[1], x[0]);
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
    finish_blend<S>(s, sums, tile.corner().col / width, tile.corner().row, tile.corner().col % width);
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
    float z[width] = {}, p[width];
    if (logits) load(z, logits + (int64_t{row} * (s.M - 1) + e) * s.C + col);
    load(p, s.projected + int64_t{e} * s.N * s.C + i);
    blend(s, e, row, col, width, true, z, p);
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
  const auto projections = operands(context_, proj, size.C * size.C);
  std::copy(projections.begin(), projections.end(), s.proj);
  const Operands read = blend_operands(size, sizeof(act));
#if defined(BTS_HOPPER) && defined(BTS_BF16)
  if (runs_on_hopper(context_, s) &&
      launched_on_hopper<HopperGated>(context_, s, read, s.M - 1, true, hopper_blend_kernel<HopperGated>))
    return;
#endif
  with_tile<act, WideGated, LargeGated, LargeGated>(context_, size.N, size.C, size.M - 1, [&](auto tile) {
    launch_blend<decltype(tile)>(context_, s, read);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
