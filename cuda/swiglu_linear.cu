// y = act(x Wg^T + bg) * (x Wu^T + bu) of all members in one launch: a block accumulates both products of a tile together,
// and neither of them is ever in device memory.
#include "../native/error.h"
#include "activation.cuh"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/operands.h"
#include "gemm/tile_order.cuh"
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

__device__ __forceinline__ float biased(float sum, const WeightList& bias, int m, int64_t i) {
  return bias.data[m] ? sum + element({bias.data[m], bias.dtype[m]}, i) : sum;
}

template <class S>
__global__ void __launch_bounds__(S::kThreads, kGemmBlocks<act>) swiglu_linear_kernel(
    const __grid_constant__ Arguments s) {
  DYNAMIC_SHARED(shared);
  const int tiles = s.order.tile_rows * s.order.tile_cols;
  for (int tile = blockIdx.x; tile < tiles * s.M; tile += gridDim.x) {
    const int m = tile / tiles;
    const Tile at = s.order.at(tile % tiles);
    const int row0 = at.row * S::kM, col0 = at.col * S::kN;
    float sums[2][S::kI][S::kJ][4] = {};
    block_product<act, Depth::Inner, Depth::Inner, S>(
        sums, shared, {s.x + m * int64_t{s.N} * s.C, s.C},
        [&](int b) -> Matrix<act> { return {b == 0 ? s.gate[m] : s.up[m], s.C}; }, 2, row0, s.N, col0, s.F, s.C);
#pragma unroll
    for (int i = 0; i < S::kI; i++)
#pragma unroll
      for (int j = 0; j < S::kJ; j++)
#pragma unroll
        for (int e = 0; e < 4; e += 2) {
          const int row = row0 + S::row(i, e), col = col0 + S::col(j, e);
          if (row >= s.N || col >= s.F) continue;
          const bool pair = col + 1 < s.F;
          float value[2] = {};
#pragma unroll
          for (int c = 0; c < 2; c++)
            if (c == 0 || pair)
              value[c] = activated(s.activation, biased(sums[0][i][j][e + c], s.gate_bias, m, col + c)) *
                         biased(sums[1][i][j][e + c], s.up_bias, m, col + c);
          store_pair(s.y + (m * int64_t{s.N} + row) * s.F + col, value[0], value[1], pair);
        }
  }
}

template <class S>
void launch_tiles(const Context& context, Arguments s) {
  const int tile_rows = ceil_div(s.N, S::kM), tile_cols = ceil_div(s.F, S::kN);
  const int64_t tiles = int64_t{tile_rows} * tile_cols * s.M;
  if (tiles > INT32_MAX) throw Error("BAD_SHAPE", "a product of this size has more tiles than a launch can count");
  const Operands read{s.N * int64_t{s.C} * int64_t{sizeof(act)}, 2 * s.F * int64_t{s.C} * int64_t{sizeof(act)}};
  s.order = read.order(context.l2_bytes(), tile_rows, tile_cols);
  const int64_t blocks = std::min<int64_t>(tiles, kGemmBlocks<act> * context.multiprocessors());
  GPU_LAUNCH(context, swiglu_linear_kernel<S>, dim3(static_cast<unsigned>(blocks)), dim3(S::kThreads),
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
    const int64_t large = int64_t{ceil_div(N, LargeGated::kM)} * ceil_div(F, LargeGated::kN) * count;
    if (large >= context_.multiprocessors()) launch_tiles<LargeGated>(context_, s);
    else launch_tiles<SmallGated>(context_, s);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
