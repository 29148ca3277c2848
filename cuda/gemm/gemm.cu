// out (+)= sum over segments of A B^T, fused with what follows it: bias, residual, gradient accumulation.
// Every tile of a result is summed by one block in one order: the same bits on every run, in every gradient.
#include "gemm.cuh"

#include "../../native/error.h"
#include "../cuda_ops.h"
#include "tile_order.cuh"

namespace bts::cuda {

namespace {

static_assert(sizeof(Gemm<bf16, float>) + sizeof(TileOrder) <= 4096, "kernel arguments");

template <Depth LA, Depth LB, class S, class T, class Out>
__global__ void __launch_bounds__(S::kThreads, kGemmBlocks<T>) gemm_kernel(const __grid_constant__ Gemm<T, Out> gemm,
                                                                           const TileOrder order) {
  constexpr bool kHasExtras = LA == Depth::Inner;  // the gradient of a weight has no bias and no residual
  DYNAMIC_SHARED(shared);
  const int tiles = order.tile_rows * order.tile_cols;
  for (int tile = blockIdx.x; tile < tiles * gemm.group_count; tile += gridDim.x) {
    const auto& group = gemm.groups[tile / tiles];
    const Tile at = order.at(tile % tiles);
    const int row0 = at.row * S::kM, col0 = at.col * S::kN;

    float sums[1][S::kI][S::kJ][4] = {};
    for (int s = group.first_segment; s < group.end_segment; s++) {
      const auto& segment = gemm.segments[s];
      block_product<T, LA, LB, S>(
          sums, shared, segment.a, [&](int) { return segment.b; }, 1, row0, gemm.rows, col0, gemm.cols, segment.depth);
    }

#pragma unroll
    for (int i = 0; i < S::kI; i++)
#pragma unroll
      for (int j = 0; j < S::kJ; j++)
#pragma unroll
        for (int e = 0; e < 4; e += 2) {
          const int row = row0 + S::row(i, e), col = col0 + S::col(j, e);
          if (row >= gemm.rows || col >= gemm.cols) continue;
          const int64_t index = static_cast<int64_t>(row) * gemm.cols + col;
          const bool pair = col + 1 < gemm.cols;
          float value[2] = {sums[0][i][j][e], sums[0][i][j][e + 1]};
#pragma unroll
          for (int c = 0; c < 2; c++) {
            if (c == 1 && !pair) break;
            if (kHasExtras && group.bias.data) value[c] += element(group.bias, col + c);
            if (kHasExtras && group.residual) {
              const float scale =
                  group.scale.data
                      ? to_float(group.scale.data[row * group.scale.stride + (gemm.scale_cols == 1 ? 0 : col + c)])
                      : 1.0f;
              value[c] = fmaf(scale, to_float(group.residual[index + c]), value[c]);
            }
            if (gemm.accumulate) value[c] += to_float(group.out[index + c]);
          }
          store_pair(group.out + index, value[0], value[1], pair);
        }
  }
}

template <Depth LA, Depth LB, class S, class T, class Out>
void launch(const Context& context, const Gemm<T, Out>& gemm) {
  const int tile_rows = ceil_div(gemm.rows, S::kM), tile_cols = ceil_div(gemm.cols, S::kN);
  const int64_t tiles = int64_t{tile_rows} * tile_cols * gemm.group_count;
  if (tiles > INT32_MAX) throw Error("BAD_SHAPE", "a product of this size has more tiles than a launch can count");
  const auto& first = gemm.groups[0];
  int64_t depth = 0;
  for (int s = first.first_segment; s < first.end_segment; s++) depth += gemm.segments[s].depth;
  const Operands read{gemm.rows * depth * int64_t{sizeof(T)}, gemm.cols * depth * int64_t{sizeof(T)}};
  const int64_t blocks = std::min<int64_t>(tiles, kGemmBlocks<T> * context.multiprocessors());
  GPU_LAUNCH(context, (gemm_kernel<LA, LB, S, T, Out>), dim3(static_cast<unsigned>(blocks)), dim3(S::kThreads),
             (product_bytes<T, LA, LB, S>()), gemm, read.order(context.l2_bytes(), tile_rows, tile_cols));
}

}  // namespace

template <Depth LA, Depth LB, class T, class Out>
void launch_gemm(const Context& context, const Gemm<T, Out>& gemm) {
  if (gemm.rows == 0 || gemm.cols == 0 || gemm.group_count == 0) return;
  const int64_t large =
      int64_t{ceil_div(gemm.rows, LargeTile::kM)} * ceil_div(gemm.cols, LargeTile::kN) * gemm.group_count;
  if (large >= context.multiprocessors()) launch<LA, LB, LargeTile>(context, gemm);
  else launch<LA, LB, SmallTile>(context, gemm);
}

namespace with = BTS_PRECISION;

// The three products of a linear layer: forward, gradient of its input, gradient of its weight.
template void launch_gemm<Depth::Inner, Depth::Inner>(const Context&, const Gemm<with::act, with::act>&);
template void launch_gemm<Depth::Inner, Depth::Outer>(const Context&, const Gemm<with::act, with::act>&);
template void launch_gemm<Depth::Outer, Depth::Outer>(const Context&, const Gemm<with::act, float>&);

}  // namespace bts::cuda
