// out (+)= sum over segments of A B^T, fused with what follows it: bias, residual, gradient accumulation.
// Every tile of a result is summed by one block in one order: the same bits on every run, in every gradient.
#include "gemm.cuh"

#include "../cuda_ops.h"
#include "epilogue.cuh"
#include "ring.cuh"
#include "tile_order.cuh"

namespace bts::cuda {

namespace {

static_assert(sizeof(Gemm<bf16, float>) + sizeof(TileOrder) <= 4096, "kernel arguments");

// The tiles of one block of a persistent grid, and of each the depths that are multiplied, in their order.
template <class S, int kDepth, class T, class Out>
class Walk {
 public:
  __device__ __forceinline__ Walk(const Gemm<T, Out>& gemm, const TileOrder& order) : gemm_(gemm), order_(order) {
    begin_tile();
  }

  __device__ __forceinline__ bool more() const { return group_ < gemm_.group_count; }
  __device__ __forceinline__ const auto& group() const { return gemm_.groups[group_]; }
  __device__ __forceinline__ int segment_number() const { return segment_; }
  __device__ __forceinline__ const auto& segment() const { return gemm_.segments[segment_]; }
  // Whether nothing is multiplied for this tile.
  __device__ __forceinline__ bool empty() const { return group().first_segment == group().end_segment; }
  // Of the tile, in elements.
  __device__ __forceinline__ const Tile& corner() const { return corner_; }
  __device__ __forceinline__ int depth() const { return depth_; }

  __device__ __forceinline__ void next_tile() {
    tile_ += gridDim.x;
    begin_tile();
  }
  __device__ __forceinline__ void next_step() {
    depth_ += kDepth;
    if (depth_ < segment().depth) return;
    depth_ = 0;
    if (++segment_ == group().end_segment) next_tile();
  }

 private:
  __device__ __forceinline__ void begin_tile() {
    const int tiles = order_.tile_rows * order_.tile_cols;
    group_ = tile_ / tiles;
    if (!more()) return;
    const Tile at = order_.at(tile_ % tiles);
    corner_ = {at.row * S::kM, at.col * S::kN};
    segment_ = group().first_segment;
  }

  const Gemm<T, Out>& gemm_;
  const TileOrder& order_;
  int tile_ = blockIdx.x, group_ = 0, segment_ = 0, depth_ = 0;
  Tile corner_ = {0, 0};
};

// Stages of a tile.
template <class Stage, class Gemm, class Group>
__device__ __forceinline__ int steps_of(const Gemm& gemm, const Group& group) {
  int steps = 0;
  for (int s = group.first_segment; s < group.end_segment; s++) steps += Stage::steps(gemm.segments[s].depth);
  return steps;
}

// Writes a tile's sums with all that is added to them.
template <bool kHasExtras, class S, class T, class Out>
__device__ __forceinline__ void finish(const Gemm<T, Out>& gemm, const typename Gemm<T, Out>::Group& group,
                                       const Sums<S>* sums, float* staging, const Tile& corner) {
  const bool aligned = Matrix<Out>{group.out, gemm.cols}.aligned() && Matrix<Out>{group.residual, gemm.cols}.aligned();
  const bool scaled = kHasExtras && group.scale.data, per_column = scaled && gemm.scale_cols > 1;
  constexpr int kWidth = kPack<1, Out>;
  const auto place = [&](int r, int c, auto&& f) {
    const int row = corner.row + r, col = corner.col + c, count = min(gemm.cols - col, kWidth);
    if (row < gemm.rows && count > 0) f(row, col, int64_t{row} * gemm.cols + col, count, aligned && count == kWidth);
  };
  const auto fetch = [&](int r, int c) {
    Fetched<Out, kWidth> residual{};
    if (group.residual)
      place(r, c, [&](int, int, int64_t index, int count, bool whole) {
        residual.fetch(group.residual + index, count, whole);
      });
    return residual;
  };
  for_packs<S, 1, Out>(sums, staging, fetch,
                       [&](int r, int c, float (&x)[1][kWidth], const Fetched<Out, kWidth>& fetched) {
                         place(r, c, [&](int row, int col, int64_t index, int count, bool whole) {
                           float (&value)[kWidth] = x[0];
                           float residual[kWidth];
                           fetched.widen(residual);
                           if (kHasExtras) add_bias(value, group.bias, col, count);
                           if (scaled) {
                             float scale[kWidth];
                             const T* const from = group.scale.data + row * group.scale.stride;
                             if (per_column)
                               load_pack(scale, from + col, count, group.scale.aligned() && count == kWidth);
#pragma unroll
                             for (int i = 0; i < kWidth; i++)
                               value[i] = fmaf(per_column ? scale[i] : to_float(*from), residual[i], value[i]);
                           } else {
#pragma unroll
                             for (int i = 0; i < kWidth; i++) value[i] += residual[i];
                           }
                           store_pack(group.out + index, value, count, whole);
                         });
                       });
}

// The gradient of a weight has no bias and no scale.
constexpr bool has_extras(Depth left) { return left == Depth::Inner; }

template <Depth LA, Depth LB, class S, class T, class Out>
__global__ void __launch_bounds__(S::kThreads, 1) gemm_kernel(const __grid_constant__ Gemm<T, Out> gemm,
                                                              const __grid_constant__ TileOrder order) {
  using Stage = cuda::Stage<T, LA, LB, S>;
  using Walk = cuda::Walk<S, Stage::kDepth, T, Out>;
  DYNAMIC_SHARED(shared);
  Walk loads(gemm, order);
  const auto ahead = [&](T* stage) {
    while (loads.more() && loads.empty()) loads.next_tile();
    if (!loads.more()) return;
    const auto& segment = loads.segment();
    const Tile& at = loads.corner();
    Stage::load(
        stage, segment.a, [&](int) { return segment.b; }, 1, at.row, gemm.rows, at.col, gemm.cols, loads.depth(),
        segment.depth);
    loads.next_step();
  };
  Pipeline<T, LA, LB, S, decltype(ahead)> pipeline(shared, ahead);
  for (Walk tile(gemm, order); tile.more(); tile.next_tile()) {
    Sums<S> sums[1] = {};
    pipeline.template multiply<1>(sums, steps_of<Stage>(gemm, tile.group()));
    finish<has_extras(LA), S>(gemm, tile.group(), sums, pipeline.staging(), tile.corner());
  }
}

template <class S, class T, class Out>
TileOrder order_of(const Context& context, const Gemm<T, Out>& gemm) {
  const auto& first = gemm.groups[0];
  int64_t depth = 0;
  for (int s = first.first_segment; s < first.end_segment; s++) depth += gemm.segments[s].depth;
  const Operands read{gemm.rows * depth * int64_t{sizeof(T)}, gemm.cols * depth * int64_t{sizeof(T)}};
  return read.order(context.l2_bytes(), ceil_div(gemm.rows, S::kM), ceil_div(gemm.cols, S::kN));
}

template <class T, class Out>
int64_t tiles_of(const TileOrder& order, const Gemm<T, Out>& gemm) {
  return int64_t{order.tile_rows} * order.tile_cols * gemm.group_count;
}

template <Depth LA, Depth LB, class S, class T, class Out>
void launch(const Context& context, const Gemm<T, Out>& gemm) {
  const TileOrder order = order_of<S>(context, gemm);
  GPU_LAUNCH(context, (gemm_kernel<LA, LB, S, T, Out>), persistent(context, tiles_of(order, gemm)), dim3(S::kThreads),
             (product_bytes<T, LA, LB, S>()), gemm, order);
}

#if defined(BTS_HOPPER)

// The operands of every segment, with the boxes that a ring takes of them.
struct Maps {
  TensorMap left[kMaxSegments], right[kMaxSegments];
};

template <Depth LA, Depth LB, class S, class Out>
__global__ void __launch_bounds__((Ring<LA, LB, S>::kThreads), 1) hopper_gemm_kernel(
    const __grid_constant__ Gemm<bf16, Out> gemm, const __grid_constant__ TileOrder order,
    const __grid_constant__ Maps maps) {
#if defined(BTS_HOPPER_CODE)
  using Stage = cuda::Stage<bf16, LA, LB, S>;
  using Walk = cuda::Walk<S, Stage::kDepth, bf16, Out>;
  DYNAMIC_SHARED(shared);
  Ring<LA, LB, S> ring(shared, order);
  if (ring.loads()) {
    if constexpr (kMovesRegisters<S>) keep_registers<kLoadingRegisters>();
    if (threadIdx.x != S::kThreads) return;
    for (Walk loads(gemm, order); loads.more();) {
      if (loads.empty()) {
        loads.next_tile();
        continue;
      }
      const int s = loads.segment_number();
      ring.load(
          maps.left[s], [&](int) -> const TensorMap& { return maps.right[s]; }, loads.corner().row, loads.corner().col,
          loads.depth());
      loads.next_step();
    }
    return;
  }
  if constexpr (kMovesRegisters<S>) claim_registers<kMultiplyingRegisters>();
  for (Walk tile(gemm, order); tile.more(); tile.next_tile()) {
    Sums<S> sums[1] = {};
    ring.multiply(sums, steps_of<Stage>(gemm, tile.group()));
    finish<has_extras(LA), S>(gemm, tile.group(), sums, ring.staging(), tile.corner());
  }
#endif
}

template <Depth LA, Depth LB, class S, class Out>
void launch_hopper(const Context& context, const Gemm<bf16, Out>& gemm) {
  using Ring = cuda::Ring<LA, LB, S>;
  Maps maps;
  const auto map = [](const Matrix<bf16>& of, Depth layout, int64_t extent, int64_t depth, int box) {
    return layout == Depth::Inner ? tensor_map(of.data, extent, depth, of.stride, box)
                                  : tensor_map(of.data, depth, extent, of.stride, box);
  };
  for (int s = 0; s < gemm.segment_count; s++) {
    const auto& segment = gemm.segments[s];
    maps.left[s] = map(segment.a, LA, gemm.rows, segment.depth, Ring::kLeftBox);
    maps.right[s] = map(segment.b, LB, gemm.cols, segment.depth, Ring::kRightBox);
  }
  const TileOrder order = order_of<S>(context, gemm);
  GPU_LAUNCH(context, (hopper_gemm_kernel<LA, LB, S, Out>), persistent(context, tiles_of(order, gemm)),
             dim3(Ring::kThreads), Ring::kBytes, gemm, order, maps);
}

#endif

template <class T, class Out>
bool is_aligned(const Gemm<T, Out>& gemm) {
  return std::all_of(gemm.segments, gemm.segments + gemm.segment_count,
                     [](const auto& segment) { return segment.a.aligned() && segment.b.aligned(); });
}

// Takes the product, which is aligned, on if this is a Hopper.
template <Depth LA, Depth LB, class T, class Out>
bool launched_on_hopper([[maybe_unused]] const Context& context, [[maybe_unused]] const Gemm<T, Out>& gemm) {
#if defined(BTS_HOPPER)
  if constexpr (std::is_same_v<T, bf16>) {
    if (!context.hopper()) return false;
    const auto suits = [&](auto tile) {
      return suits_hopper<decltype(tile)>(context, gemm.rows, gemm.cols, gemm.group_count);
    };
    if (suits(HopperTile())) launch_hopper<LA, LB, HopperTile>(context, gemm);
    else if (suits(SmallHopperTile())) launch_hopper<LA, LB, SmallHopperTile>(context, gemm);
    else if (suits(FlatHopperTile())) launch_hopper<LA, LB, FlatHopperTile>(context, gemm);
    else launch_hopper<LA, LB, SmallFlatHopperTile>(context, gemm);
    return true;
  }
#endif
  return false;
}

}  // namespace

template <Depth LA, Depth LB, class T, class Out>
void launch_gemm(const Context& context, const Gemm<T, Out>& gemm) {
  if (gemm.rows == 0 || gemm.cols == 0 || gemm.group_count == 0) return;
  const bool aligned = is_aligned(gemm);
  if (aligned && launched_on_hopper<LA, LB>(context, gemm)) return;
  with_tile<T, WideTile, LargeTile, SmallTile>(context, aligned, gemm.rows, gemm.cols, gemm.group_count,
                                               [&](auto tile) { launch<LA, LB, decltype(tile)>(context, gemm); });
}

namespace with = BTS_PRECISION;

// The three products of a linear layer: forward, gradient of its input, gradient of its weight.
template void launch_gemm<Depth::Inner, Depth::Inner>(const Context&, const Gemm<with::act, with::act>&);
template void launch_gemm<Depth::Inner, Depth::Outer>(const Context&, const Gemm<with::act, with::act>&);
template void launch_gemm<Depth::Outer, Depth::Outer>(const Context&, const Gemm<with::act, float>&);

}  // namespace bts::cuda
