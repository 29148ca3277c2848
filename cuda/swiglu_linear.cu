// y = act(x Wg^T + bg) * (x Wu^T + bu) of all members in one launch: a block accumulates both products of a tile together,
// and neither of them is ever in device memory.
#include "activation.cuh"
#include "gemm/epilogue.cuh"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "members.cuh"
#include "gemm/operands.h"
#include "gemm/tile_order.cuh"

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

// x += the bias, if there is one, of columns col..col+count-1.
__device__ __forceinline__ void add_bias(float (&x)[kWide], const WeightList& bias, int m, int col, int count) {
  if (!bias.data[m]) return;
#pragma unroll
  for (int i = 0; i < kWide; i++)
    if (i < count) x[i] += element({bias.data[m], bias.dtype[m]}, col + i);
}

// Writes a tile of member m: sums[0] of the gate and sums[1] beside it.
template <class S>
__device__ __forceinline__ void finish(const Arguments& s, const Sums<S>* sums, int m, const Tile& corner) {
  act* const y = s.y + m * int64_t{s.N} * s.F;
  const bool aligned = Matrix<act>{y, s.F}.aligned();
  for_packs<S, 2>(sums, [&](int r, int c, float (&x)[2][kWide]) {
    const int row = corner.row + r, col = corner.col + c, count = min(s.F - col, kWide);
    if (row >= s.N || count <= 0) return;
    add_bias(x[0], s.gate_bias, m, col, count);
    add_bias(x[1], s.up_bias, m, col, count);
#pragma unroll
    for (int i = 0; i < kWide; i++) x[0][i] = activated(s.activation, x[0][i]) * x[1][i];
    store_pack(y + int64_t{row} * s.F + col, x[0], count, aligned && count == kWide);
  });
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, 1) swiglu_linear_kernel(const __grid_constant__ Arguments s) {
  using Stage = cuda::Stage<act, Depth::Inner, Depth::Inner, S>;
  DYNAMIC_SHARED(shared);
  const int tiles = s.order.tile_rows * s.order.tile_cols, end = tiles * s.M;
  const auto corner = [&](int tile) {
    const Tile at = s.order.at(tile % tiles);
    return Tile{at.row * S::kM, at.col * S::kN};
  };
  int next = blockIdx.x, k = 0;
  const auto ahead = [&](act* stage) {
    if (next >= end) return;
    const int m = next / tiles;
    const Tile at = corner(next);
    Stage::load(stage, {s.x + m * int64_t{s.N} * s.C, s.C},
                [&](int b) -> Matrix<act> { return {b == 0 ? s.gate[m] : s.up[m], s.C}; }, 2, at.row, s.N, at.col, s.F, k,
                s.C);
    k += Stage::kDepth;
    if (k < s.C) return;
    k = 0;
    next += gridDim.x;
  };
  Pipeline<act, Depth::Inner, Depth::Inner, S, decltype(ahead)> pipeline(shared, ahead);
  for (int tile = blockIdx.x; tile < end; tile += gridDim.x) {
    Sums<S> sums[2] = {};
    pipeline.template multiply<2>(sums, Stage::steps(s.C));
    finish<S>(s, sums, tile / tiles, corner(tile));
  }
}

template <class S>
void launch_tiles(const Context& context, Arguments s) {
  const int tile_rows = ceil_div(s.N, S::kM), tile_cols = ceil_div(s.F, S::kN);
  const Operands read{s.N * int64_t{s.C} * int64_t{sizeof(act)}, 2 * s.F * int64_t{s.C} * int64_t{sizeof(act)}};
  s.order = read.order(context.l2_bytes(), tile_rows, tile_cols);
  GPU_LAUNCH(context, swiglu_linear_kernel<S>, persistent(context, int64_t{tile_rows} * tile_cols * s.M), dim3(S::kThreads),
             (product_bytes<act, Depth::Inner, Depth::Inner, S>()), s);
}

}  // namespace

void CudaOps::run(const SwigluLinear& op) {
  const auto& [x, gate, up, gate_bias, up_bias, y, N, C, F, activation] = op;
  context_.scratch().reset();
  if (N == 0 || F == 0) return;
  if (N <= kGemvRows) return launch_swiglu_gemv(context_, y, x, gate, up, gate_bias, up_bias, N, C, F, activation);
  const auto gates = operands(context_, gate, C * F), ups = operands(context_, up, C * F);
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
    with_tile<act, WideGated, LargeGated, SmallGated>(
        context_, N, F, count, [&](auto tile) { launch_tiles<decltype(tile)>(context_, s); });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
