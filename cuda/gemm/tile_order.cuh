// The order in which a persistent grid walks the tiles of a product's result: a threadblock swizzle, in the words of CUTLASS.
#pragma once

#include <algorithm>

#include "../gpu.cuh"

namespace bts::cuda {

struct Tile {
  int row, col;
};

// What the L2 cache does with what a copy of the tensor memory accelerator reads: policies as createpolicy makes them.
enum class Keep : uint64_t { Normal = 0x1000000000000000, Briefly = 0x12F0000000000000 };

// One operand stays in the L2 cache, band by band, while the other passes by once for each band: bands of rows of tiles
// are walked column by column, or bands of columns row by row. Every other band is walked backwards, as what passed last
// is still there when the next band begins.
struct TileOrder {
  int tile_rows, tile_cols, band;
  bool columns_stay;

  __host__ __device__ __forceinline__ Keep left() const { return columns_stay ? Keep::Briefly : Keep::Normal; }
  __host__ __device__ __forceinline__ Keep right() const { return columns_stay ? Keep::Normal : Keep::Briefly; }

  __host__ __device__ __forceinline__ Tile at(int index) const {
    const int across = columns_stay ? tile_cols : tile_rows, along = columns_stay ? tile_rows : tile_cols;
    const int number = index / (band * along), inside = index % (band * along);
    const int left = across - number * band, height = left < band ? left : band;
    const int stays = number * band + inside % height, step = inside / height;
    const int passes = number % 2 == 0 ? step : along - 1 - step;
    return columns_stay ? Tile{passes, stays} : Tile{stays, passes};
  }
};

// What a product reads: bytes of its left operand (its rows) and of its right one (its columns), all segments together.
struct Operands {
  int64_t left, right;

  // In how many bands an operand of so many bytes stays: a band may fill seven sixteenths of the L2 cache. The cache of large
  // GPUs is two halves, and what all multiprocessors read is kept in both; the rest is for the operand that passes by.
  static int64_t bands(int64_t bytes, size_t l2_bytes) {
    const int64_t room = std::max<int64_t>(1, static_cast<int64_t>(l2_bytes) / 16 * 7);
    return std::max<int64_t>(1, (bytes + room - 1) / room);
  }
  // Bytes read from device memory if an operand of `stays` bytes stays, band by band, and one of `passes` bytes passes by each
  // band. At the end of a band some blocks of the grid are in the next one already. Where the cache cannot hold both bands, the
  // next one is driven out again and read a second time.
  static int64_t bytes_if(int64_t stays, int64_t passes, size_t l2_bytes) {
    const int64_t count = bands(stays, l2_bytes), band = stays / count;
    const bool crowded = 2 * band > static_cast<int64_t>(l2_bytes);
    return stays + count * passes + (crowded ? (count - 1) * band : 0);
  }
  bool columns_stay(size_t l2_bytes) const { return bytes_if(right, left, l2_bytes) < bytes_if(left, right, l2_bytes); }
  // In the better of the two orders.
  int64_t bytes(size_t l2_bytes) const {
    return std::min(bytes_if(left, right, l2_bytes), bytes_if(right, left, l2_bytes));
  }

  TileOrder order(size_t l2_bytes, int tile_rows, int tile_cols) const {
    const bool columns = columns_stay(l2_bytes);
    const int64_t across = columns ? tile_cols : tile_rows, count = bands(columns ? right : left, l2_bytes);
    return {tile_rows, tile_cols, static_cast<int>(std::max<int64_t>(1, (across + count - 1) / count)), columns};
  }
};

}  // namespace bts::cuda
