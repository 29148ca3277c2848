#include "stitch_forward.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// Where member m's stream of a token is, h_0 or p_e, from channel `col` on.
__device__ __forceinline__ const act* stream(const StitchForward& s, int m, int row, int col) {
  return (m == 0 ? s.h : s.projected + (m - 1) * (int64_t{s.N} * s.C)) + int64_t{row} * s.C + col;
}

// hub = g_0 h_0 + sum over e of g_e p_e, g = softmax over members of dropout(h_0 Wg^T + bg), for `count` channels of a token
// from `col` on. z: h_0 Wg^T of every member, or where there is one gate for a token nothing: it is in `gates`.
// read(m, x): x becomes member m's stream.
template <int kMembers, int width, class Read>
__device__ __forceinline__ void mix(const StitchForward& s, int row, int col, int count, bool whole,
                                    float (&z)[kMembers][width], const Read& read) {
  float sum[width] = {};
  if (s.G != 1) {
#pragma unroll
    for (int m = 0; m < kMembers; m++)
      if (m < s.M) finish_logits(s, z[m], row, m, col, count);
#pragma unroll
    for (int i = 0; i < width; i++) {
      float g[kMembers];
#pragma unroll
      for (int m = 0; m < kMembers; m++) g[m] = z[m][i];
      softmax(g, s.M);
#pragma unroll
      for (int m = 0; m < kMembers; m++) z[m][i] = g[m];
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
    read(m, x);
#pragma unroll
    for (int i = 0; i < width; i++) sum[i] = fmaf(z[m][i], x[i], sum[i]);
  }
  stream_pack(s.out + int64_t{row} * s.C + col, sum, count, whole);
}

template <class S>
__device__ __forceinline__ void finish_mix(const StitchForward& s, const Sums<S>* logits, float* staging,
                                           const Tile& corner) {
  constexpr int kWidth = kPack<S::kB, act>;
  constexpr int kAhead = S::kB <= 4 ? S::kB : 0;  // of more streams the packs would not fit the registers
  struct Streams {
    Fetched<act, kWidth> of[kAhead + 1];
  };
  const bool aligned = packs_aligned<kWidth>(s);
  const auto place = [&](int r, int c, auto&& f) {
    const int row = corner.row + r, col = corner.col + c, count = min(s.C - col, kWidth);
    if (row < s.N && count > 0) f(row, col, count, aligned && count == kWidth);
  };
  const auto fetch = [&](int r, int c) {
    Streams streams{};
    place(r, c, [&](int row, int col, int count, bool whole) {
#pragma unroll
      for (int m = 0; m < kAhead; m++)
        if (m < s.M) streams.of[m].fetch(stream(s, m, row, col), count, whole);
    });
    return streams;
  };
  for_packs<S, S::kB, act>(logits, staging, fetch,
                           [&](int r, int c, float (&z)[S::kB][kWidth], const Streams& streams) {
                             place(r, c, [&](int row, int col, int count, bool whole) {
                               mix(s, row, col, count, whole, z, [&](int m, float (&x)[kWidth]) {
                                 if (m < kAhead) streams.of[m].widen(x);
                                 else load_pack(x, stream(s, m, row, col), count, whole);
                               });
                             });
                           });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) mix_kernel(const __grid_constant__ StitchForward s) {
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
    finish_mix<S>(s, logits, pipeline.staging(), tile.corner());
  }
}

// What follows a token's gate, or logits [N,M,C] that were made before.
template <int kMembers, int width>
__global__ void __launch_bounds__(kThreads) mix_rows_kernel(const __grid_constant__ StitchForward s,
                                                            const float* logits) {
  const int64_t i = grid_thread() * width;
  if (i >= int64_t{s.N} * s.C) return;
  const int row = i / s.C, col = i % s.C;
  float z[kMembers][width] = {};
  if (logits)
#pragma unroll
    for (int m = 0; m < kMembers; m++)
      if (m < s.M) load(z[m], logits + (int64_t{row} * s.M + m) * s.C + col);
  mix(s, row, col, width, true, z, [&](int m, float (&x)[width]) { load(x, stream(s, m, row, col)); });
}
#if defined(BTS_HOPPER) && defined(BTS_BF16)

template <class S>
__global__ void __launch_bounds__((Ring<Depth::Inner, Depth::Inner, S>::kThreads), 1) hopper_mix_kernel(
    const __grid_constant__ StitchForward s, const __grid_constant__ StitchMaps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  Ring<Depth::Inner, Depth::Inner, S> ring(shared, s.order);
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
    finish_mix<S>(s, logits, ring.staging(), tile.corner());
  }
#endif
}

#endif

// Calls f with the number of members that kernels are made for and that M fits.
template <class F>
void with_members(int M, F&& f) {
  if (M <= 4) f(std::integral_constant<int, 4>());
  else if (M <= 8) f(std::integral_constant<int, 8>());
  else f(std::integral_constant<int, kStitchMembers>());
}

void launch_rows(const Context& context, const StitchForward& s, const float* logits) {
  with_width(s.C, {s.out, s.gates, s.projected, s.h, logits}, [&](auto width) {
    const dim3 grid(ceil_div(int64_t{s.N} * s.C, kThreads * width));
    with_members(s.M, [&](auto members) {
      GPU_LAUNCH(context, (mix_rows_kernel<members, width>), grid, dim3(kThreads), 0, s, logits);
    });
  });
}

template <class S>
void launch_mix(const Context& context, StitchForward s, const Operands& read) {
  order_tiles<S>(context, s, read, 1);
  GPU_LAUNCH(context, mix_kernel<S>, grid_of(context, s), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}
}  // namespace

void CudaOps::run(const ExpertsIntoHubForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, hub, gates, projected, size] = op;
  StitchForward s = stitch_forward(context_, hub, gates, projected, h, gate_bias, size);
  launch_projections(context_, s, proj, false);
  if (size.G == 1) {
    launch_token_gates(context_, s, gate_weight, true);
    return launch_rows(context_, s, nullptr);
  }
  if (size.N <= kGemvRows) return launch_rows(context_, s, launch_logits(context_, s, gate_weight, 0));
  round_gates(context_, s, gate_weight);
  const Operands read = mix_operands(size, sizeof(act));
  if (!is_aligned(s, false)) return launch_mix<Unaligned<MixOf16>>(context_, s, read);
#if defined(BTS_HOPPER) && defined(BTS_BF16)
  const auto on_hopper = [&](auto tile, auto kernel) {
    launch_on_hopper<decltype(tile)>(context_, s, read, 1, false, kernel);
  };
  if (context_.hopper() && size.M <= HopperMixOf4::kB)
    return on_hopper(HopperMixOf4(), hopper_mix_kernel<HopperMixOf4>);
  if (context_.hopper() && size.M <= HopperMixOf8::kB)
    return on_hopper(HopperMixOf8(), hopper_mix_kernel<HopperMixOf8>);
#endif
  if (size.M > MixOf8::kB) return launch_mix<MixOf16>(context_, s, read);
  if (size.M > MixOf4::kB) return launch_mix<MixOf8>(context_, s, read);
  constexpr size_t wide = product_bytes<act, Depth::Inner, Depth::Inner, WideMixOf4>();
  if (wide <= context_.shared_bytes()) return launch_mix<WideMixOf4>(context_, s, read);
  launch_mix<MixOf4>(context_, s, read);
}

}  // namespace bts::cuda::BTS_PRECISION
