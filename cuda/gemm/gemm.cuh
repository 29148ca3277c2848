// Grouped products of matrices: up to kMaxGroups results of one shape, each a sum of products, in one launch.
#pragma once

#include <algorithm>

#include "../../native/error.h"
#include "pipeline.cuh"

namespace bts::cuda {

constexpr int kMaxGroups = 32, kMaxSegments = 32;  // the description must fit the 4 KB of kernel arguments

// out [rows, cols] = sum over segments of A B^T (+ bias) (+ residual, times scale where given)
template <class T, class Out>
struct Gemm {
  struct Segment {
    Matrix<T> a, b;  // A [rows, depth] and B [cols, depth], or their transposes, as the kernel's layout says
    int depth;
  };
  struct Group {
    Out* out;             // rows are `cols` elements apart, as in the residual
    Weight bias;          // [cols], or null
    const Out* residual;  // [rows, cols], or null; out itself to add to what is in it
    Matrix<T> scale;      // [rows, scale_cols], or null
    int first_segment, end_segment;
  };
  Group groups[kMaxGroups];
  Segment segments[kMaxSegments];
  int group_count = 0, segment_count = 0;
  int rows, cols;
  int scale_cols = 1;  // cols: one factor per element; 1: one per row

  Gemm(int rows, int cols) : rows(rows), cols(cols) {}

  // Starts the next result; add() appends to it.
  Group& group(Out* out) {
    groups[group_count] = {out, {nullptr, DType::F32}, nullptr, {nullptr, 0}, segment_count, segment_count};
    return groups[group_count++];
  }
  // The same for a result that is added to what is in `out`.
  Group& accumulate(Out* out) {
    group(out).residual = out;
    return groups[group_count - 1];
  }
  void add(const Matrix<T>& a, const Matrix<T>& b, int64_t depth) {
    if (depth == 0) return;
    segments[segment_count++] = {a, b, static_cast<int>(depth)};
    groups[group_count - 1].end_segment = segment_count;
  }
};

// The tiles of a block, the largest whose stages fit its shared memory and of which there are enough for all
// multiprocessors. A warp of 64 x 64 reads the least from shared memory for what it multiplies.
using WideTile = Shape<128, 256, 2, 4, 3>;
using LargeTile = Shape<128, 128, 2, 4, 3>;
using SmallTile = Shape<64, 64, 2, 2, 6>;
// On Hopper, whose warpgroups multiply 64 rows at once. Flat ones are for few rows, whose product is done when the right
// operand has passed by: they have the most of that on its way.
using HopperTile = Shape<128, 256, 8, 1, 4>;
using SmallHopperTile = Shape<128, 128, 8, 1, 6>;
using FlatHopperTile = Shape<64, 256, 4, 1, 5>;
using SmallFlatHopperTile = Shape<64, 128, 4, 1, 8>;
using HopperGated = Shape<128, 128, 8, 1, 4, 2>;
using FlatHopperGated = Shape<64, 128, 4, 1, 5, 2>;
using SmallFlatHopperGated = Shape<64, 64, 4, 1, 8, 2>;
// Those of other GPUs with two right operands, for the two products of a gated layer.
using WideGated = Shape<128, 128, 2, 4, 3, 2>;
using LargeGated = Shape<128, 64, 4, 2, 3, 2>;
using SmallGated = Shape<64, 32, 4, 1, 6, 2>;

// Whether `groups` results [rows, cols] have a tile for every multiprocessor.
template <class S>
bool has_enough_tiles(const Context& context, int64_t rows, int64_t cols, int64_t groups) {
  return ceil_div(rows, S::kM) * int64_t{ceil_div(cols, S::kN)} * groups >= context.multiprocessors();
}

// Whether a tile suits a product on Hopper. Half of the multiprocessors with flat ones can keep the memory busy. A small flat one
// takes what is left, so that all products there are summed in one way.
template <class S>
bool suits_hopper(const Context& context, int64_t rows, int64_t cols, int64_t groups) {
  if (S::kM == FlatHopperTile::kM) return has_enough_tiles<S>(context, rows, cols, 2 * groups);
  return rows > FlatHopperTile::kM && has_enough_tiles<S>(context, rows, cols, groups);
}

// Calls f with the one of three tiles that suits: f(tile), a value of the shape's type. float, which is not multiplied by
// tensor cores, gains nothing from wide ones. aligned: every row of all operands begins on 16 bytes.
template <class T, class Wide, class Large, class Small, class F>
void with_tile(const Context& context, bool aligned, int64_t rows, int64_t cols, int64_t groups, F&& f) {
  if (!aligned) return f(Unaligned<Small>());
  if constexpr (kInRegisters<T>) {
    constexpr size_t bytes = product_bytes<T, Depth::Inner, Depth::Inner, Wide>();  // the same in every layout
    if (bytes <= context.shared_bytes() && has_enough_tiles<Wide>(context, rows, cols, groups)) return f(Wide());
  }
  if (has_enough_tiles<Large>(context, rows, cols, groups)) return f(Large());
  f(Small());
}

// Blocks of a persistent grid over `tiles` tiles.
inline dim3 persistent(const Context& context, int64_t tiles) {
  if (tiles > INT32_MAX) throw Error("BAD_SHAPE", "a product of this size has more tiles than a launch can count");
  return dim3(static_cast<unsigned>(std::min<int64_t>(tiles, context.multiprocessors())));
}

// Enqueues the product. Throws where a size exceeds what a launch can hold.
template <Depth LA, Depth LB, class T, class Out>
void launch_gemm(const Context& context, const Gemm<T, Out>& gemm);

}  // namespace bts::cuda
