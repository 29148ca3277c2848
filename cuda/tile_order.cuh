// The order in which a persistent grid walks the tiles of a result.
#pragma once

#include <algorithm>

#include "gpu.cuh"

namespace bts::cuda {

// Tile `index` of tile_rows x tile_cols. Bands of `band` rows of tiles are walked column by column, every other one
// backwards: the left operand's rows of a band stay in the L2 cache while the right operand passes by once for each
// band, and what passed last is still there when the next band begins.
struct TileOrder {
  int row, col;

  __host__ __device__ __forceinline__ TileOrder(int index, int tile_rows, int tile_cols, int band) {
    const int number = index / (band * tile_cols), inside = index % (band * tile_cols);
    const int left = tile_rows - number * band, height = left < band ? left : band;
    row = number * band + inside % height;
    const int step = inside / height;
    col = number % 2 == 0 ? step : tile_cols - 1 - step;
  }
};

// Rows of tiles in a band: as many as leave a quarter of the L2 cache to the other operand, all of them equally high.
// `row_bytes` are those of one row of the left operand, of all its segments together.
inline int band_height(size_t l2_bytes, int64_t row_bytes, int tile_height, int tile_rows) {
  const int64_t fitting = static_cast<int64_t>(l2_bytes) / 4 * 3 / std::max<int64_t>(1, row_bytes * tile_height);
  const int64_t most = std::clamp<int64_t>(fitting, 1, std::max(1, tile_rows));
  const int64_t bands = (tile_rows + most - 1) / most;
  return static_cast<int>(std::max<int64_t>(1, (tile_rows + bands - 1) / std::max<int64_t>(1, bands)));
}

}  // namespace bts::cuda
