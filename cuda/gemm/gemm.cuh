// Grouped products of matrices: up to kMaxGroups results of one shape, each a sum of products, in one launch.
#pragma once

#include "tile.cuh"

namespace bts::cuda {

constexpr int kMaxGroups = 32, kMaxSegments = 32;  // the description must fit the 4 KB of kernel arguments

// out [rows, cols] (+)= sum over segments of A B^T (+ bias) (+ residual, times scale where given)
template <class T, class Out>
struct Gemm {
  struct Segment {
    Matrix<T> a, b;  // A [rows, depth] and B [cols, depth], or their transposes, as the kernel's layout says
    int depth;
  };
  struct Group {
    Out* out;           // rows are `cols` elements apart, as in the residual
    Weight bias;        // [cols], or null
    const T* residual;  // [rows, cols], or null; may be out
    Matrix<T> scale;    // [rows, scale_cols], or null
    int first_segment, end_segment;
  };
  Group groups[kMaxGroups];
  Segment segments[kMaxSegments];
  int group_count = 0, segment_count = 0;
  int rows, cols;
  int scale_cols = 1;       // cols: one factor per element; 1: one per row
  bool accumulate = false;  // add to what is in out

  Gemm(int rows, int cols, bool accumulate = false) : rows(rows), cols(cols), accumulate(accumulate) {}

  // Starts the next result; add() appends to it.
  Group& group(Out* out) {
    groups[group_count] = {out, {nullptr, DType::F32}, nullptr, {nullptr, 0}, segment_count, segment_count};
    return groups[group_count++];
  }
  void add(const Matrix<T>& a, const Matrix<T>& b, int64_t depth) {
    segments[segment_count++] = {a, b, static_cast<int>(depth)};
    groups[group_count - 1].end_segment = segment_count;
  }
};

// Element i of a weight, in f32.
__device__ __forceinline__ float element(const Weight& weight, int64_t i) {
  switch (weight.dtype) {
    case DType::BF16: return to_float(static_cast<const bf16*>(weight.data)[i]);
    case DType::F16: return f16_to_float(static_cast<const uint16_t*>(weight.data)[i]);
    default: return static_cast<const float*>(weight.data)[i];
  }
}

// The tiles of a block. Warps of 32 x 64 hold the fewest registers of operands.
using LargeTile = Shape<128, 128, 4, 2, 4>;
using SmallTile = Shape<64, 64, 2, 2, 4>;  // where large ones would leave multiprocessors idle
// The same with two right operands, for the two products of a gated layer.
using LargeGated = Shape<128, 64, 4, 2, 4, 2>;
using SmallGated = Shape<64, 32, 2, 2, 4, 2>;

template <class T>
constexpr int kGemmBlocks = sizeof(T) == 2 ? 2 : 1;  // at work on one multiprocessor: what the registers allow

// Enqueues the product. Throws where a size exceeds what a launch can hold.
template <Depth LA, Depth LB, class T, class Out>
void launch_gemm(const Context& context, const Gemm<T, Out>& gemm);

}  // namespace bts::cuda
