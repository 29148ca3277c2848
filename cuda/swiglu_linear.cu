// y = act(x Wg^T + bg) * (x Wu^T + bu) of all members in one launch: a block accumulates both products of a tile together,
// and neither of them is ever in device memory.
#include "../native/runs.h"
#include "activation.cuh"
#include "gemm/epilogue.cuh"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/operands.h"
#include "gemm/ring.cuh"
#include "gemm/tile_walk.cuh"
#include "members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Arguments {
  act* y;
  const act* x;
  const act *gate[kMembers], *up[kMembers];
  WeightList gate_bias, up_bias;
  int M, N, C, F;
  Activation activation;
  TileOrder order;  // of the tiles of one member
};

// Writes a tile of member m: sums[0] of the gate and sums[1] beside it.
template <class S>
__device__ __forceinline__ void finish(const Arguments& s, const Sums<S>* sums, float* staging, int m,
                                       const Tile& corner) {
  act* const y = s.y + m * int64_t{s.N} * s.F;
  const bool aligned = Matrix<act>{y, s.F}.aligned();
  for_packs<S, 2, act>(sums, staging, [&](int r, int c, float (&x)[2][kPack<2, act>]) {
    const int row = corner.row + r, col = corner.col + c, count = min(s.F - col, kPack<2, act>);
    if (row >= s.N || count <= 0) return;
    add_bias(x[0], s.gate_bias[m], col, count);
    add_bias(x[1], s.up_bias[m], col, count);
    with_activation(s.activation, [&](auto activation) {
#pragma unroll
      for (int i = 0; i < kPack<2, act>; i++) x[0][i] = activation.value(x[0][i]) * x[1][i];
    });
    store_pack(y + int64_t{row} * s.F + col, x[0], count, aligned && count == kPack<2, act>);
  });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) swiglu_linear_kernel(const __grid_constant__ Arguments s) {
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  Walk loads(s.order, s.M, s.C);
  const auto ahead = [&](act* stage) {
    if (!loads.more()) return;
    const int m = loads.result();
    Stage::load(
        stage, {s.x + m * int64_t{s.N} * s.C, s.C},
        [&](int b) -> Matrix<act> { return {b == 0 ? s.gate[m] : s.up[m], s.C}; }, 2, loads.corner().row, s.N,
        loads.corner().col, s.F, loads.depth(), s.C);
    loads.next_step();
  };
  Pipeline<act, Depth::Inner, Depth::Inner, S, decltype(ahead)> pipeline(shared, ahead);
  for (Walk tile(s.order, s.M, s.C); tile.more(); tile.next_tile()) {
    Sums<S> sums[2] = {};
    pipeline.template multiply<2>(sums, Stage::steps(s.C));
    finish<S>(s, sums, pipeline.staging(), tile.result(), tile.corner());
  }
}

template <class S>
Arguments in_order(const Context& context, Arguments s) {
  const Operands read{s.N * int64_t{s.C} * int64_t{sizeof(act)}, 2 * s.F * int64_t{s.C} * int64_t{sizeof(act)}};
  s.order = read.order(context.l2_bytes(), ceil_div(s.N, S::kM), ceil_div(s.F, S::kN));
  return s;
}

dim3 grid_of(const Context& context, const Arguments& s) {
  return persistent(context, int64_t{s.order.tile_rows} * s.order.tile_cols * s.M);
}

template <class S>
void launch_tiles(const Context& context, const Arguments& unordered) {
  const Arguments s = in_order<S>(context, unordered);
  GPU_LAUNCH(context, swiglu_linear_kernel<S>, grid_of(context, s), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}

#if defined(BTS_HOPPER) && defined(BTS_BF16)

struct Maps {
  TensorMap x[kMembers], gate[kMembers], up[kMembers];
};

template <class S>
__global__ void __launch_bounds__((Ring<Depth::Inner, Depth::Inner, S>::kThreads), 1) hopper_swiglu_linear_kernel(
    const __grid_constant__ Arguments s, const __grid_constant__ Maps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  using Walk = TileWalk<S, Stage::kDepth>;
  DYNAMIC_SHARED(shared);
  Ring<Depth::Inner, Depth::Inner, S> ring(shared, s.order);
  if (ring.loads()) {
    if constexpr (kMovesRegisters<S>) keep_registers<kLoadingRegisters>();
    if (threadIdx.x != S::kThreads) return;
    for (Walk loads(s.order, s.M, s.C); loads.more(); loads.next_step()) {
      const int m = loads.result();
      ring.load(
          maps.x[m], [&](int b) -> const TensorMap& { return b == 0 ? maps.gate[m] : maps.up[m]; }, loads.corner().row,
          loads.corner().col, loads.depth());
    }
    return;
  }
  if constexpr (kMovesRegisters<S>) claim_registers<kMultiplyingRegisters>();
  for (Walk tile(s.order, s.M, s.C); tile.more(); tile.next_tile()) {
    Sums<S> sums[2] = {};
    ring.multiply(sums, Stage::steps(s.C));
    finish<S>(s, sums, ring.staging(), tile.result(), tile.corner());
  }
#endif
}

template <class S>
void launch_in_boxes(const Context& context, const Arguments& unordered) {
  using Ring = cuda::Ring<Depth::Inner, Depth::Inner, S>;
  const Arguments s = in_order<S>(context, unordered);
  Maps maps;
  for (int m = 0; m < s.M; m++) {
    maps.x[m] = tensor_map(s.x + m * int64_t{s.N} * s.C, s.N, s.C, s.C, Ring::kLeftBox);
    maps.gate[m] = tensor_map(s.gate[m], s.F, s.C, s.C, Ring::kRightBox);
    maps.up[m] = tensor_map(s.up[m], s.F, s.C, s.C, Ring::kRightBox);
  }
  GPU_LAUNCH(context, hopper_swiglu_linear_kernel<S>, grid_of(context, s), dim3(Ring::kThreads), Ring::kBytes, s, maps);
}

#endif

bool is_aligned(const Arguments& s) {
  const auto aligned = [&](const act* data) { return Matrix<act>{data, s.C}.aligned(); };
  return aligned(s.x) && std::all_of(s.gate, s.gate + s.M, aligned) && std::all_of(s.up, s.up + s.M, aligned);
}

// Takes the op, whose matrices are aligned, on if this is a Hopper.
bool launched_on_hopper([[maybe_unused]] const Context& context, [[maybe_unused]] const Arguments& s) {
#if defined(BTS_HOPPER) && defined(BTS_BF16)
  if (!context.hopper()) return false;
  const auto suits = [&](auto tile) { return suits_hopper<decltype(tile)>(context, s.N, s.F, s.M); };
  if (suits(HopperGated())) launch_in_boxes<HopperGated>(context, s);
  else if (suits(FlatHopperGated())) launch_in_boxes<FlatHopperGated>(context, s);
  else launch_in_boxes<SmallFlatHopperGated>(context, s);
  return true;
#else
  return false;
#endif
}

}  // namespace

void CudaOps::run(const SwigluLinear& op) {
  const auto& [x, all_gate, all_up, gate_bias, up_bias, y, each, C, F, activation, _] = op;
  context_.scratch().reset();
  if (each == 0 || F == 0) return;
  if (each <= kGemvRows)
    return launch_swiglu_gemv(context_, y, x, all_gate, all_up, gate_bias, up_bias, each, C, F, activation);
  // Members that all read the same matrices are one of more rows.
  const int64_t members = std::ssize(all_gate);
  const bool joined = runs(members, members, {all_gate, all_up, gate_bias, up_bias}).size() == 1;
  const int64_t N = joined ? members * each : each;
  const Weights gate = Weights(all_gate).first(joined ? 1 : members), up = Weights(all_up).first(joined ? 1 : members);
  const auto gates = operands(context_, gate, F, C), ups = operands(context_, up, F, C);
  for_members(gate.size(), [&](int64_t first, int64_t count) {
    Arguments s{};
    s.y = y + first * N * F;
    s.x = x + first * N * C;
    std::copy_n(gates.begin() + first, count, s.gate);
    std::copy_n(ups.begin() + first, count, s.up);
    s.gate_bias = WeightList::of(gate_bias, first, count);
    s.up_bias = WeightList::of(up_bias, first, count);
    s.M = static_cast<int>(count), s.N = static_cast<int>(N), s.C = static_cast<int>(C), s.F = static_cast<int>(F);
    s.activation = activation;
    const bool aligned = is_aligned(s);
    if (aligned && launched_on_hopper(context_, s)) return;
    with_tile<act, WideGated, LargeGated, SmallGated>(context_, aligned, N, F, count,
                                                      [&](auto tile) { launch_tiles<decltype(tile)>(context_, s); });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
