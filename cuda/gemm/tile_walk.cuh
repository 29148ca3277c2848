// The way of one block of a persistent grid through the tiles of several results, and through the depth of each.
#pragma once

#include "tile_order.cuh"

namespace bts::cuda {

template <class S, int kDepth>
class TileWalk {
 public:
  // `results` of one shape, whose tiles are walked as `order` says, one result after the other; all are `depth` deep.
  __device__ __forceinline__ TileWalk(const TileOrder& order, int results, int depth)
      : order_(order), results_(results), end_(depth) {
    begin_tile();
  }

  __device__ __forceinline__ bool more() const { return result_ < results_; }
  __device__ __forceinline__ int result() const { return result_; }
  // Of the tile, in elements.
  __device__ __forceinline__ const Tile& corner() const { return corner_; }
  __device__ __forceinline__ int depth() const { return depth_; }

  __device__ __forceinline__ void next_tile() {
    tile_ += gridDim.x;
    begin_tile();
  }
  __device__ __forceinline__ void next_step() {
    depth_ += kDepth;
    if (depth_ < end_) return;
    depth_ = 0;
    next_tile();
  }

 private:
  __device__ __forceinline__ void begin_tile() {
    const int tiles = order_.tile_rows * order_.tile_cols;
    result_ = tile_ / tiles;
    const Tile at = order_.at(tile_ % tiles);
    corner_ = {at.row * S::kM, at.col * S::kN};
  }

  const TileOrder& order_;
  const int results_, end_;
  int tile_ = blockIdx.x, result_ = 0, depth_ = 0;
  Tile corner_ = {0, 0};
};

}  // namespace bts::cuda
