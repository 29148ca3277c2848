// Prints, as JSON, what the report needs and only the kernels' own headers know: shared memory of every tiled kernel, and
// the bytes that the stitch forward moves between device memory and the L2 cache under the kernels' own tile order.
//
// The bytes are counted by walking the tiles as the persistent grid does, wave by wave, through a cache of the device's
// size that forgets what was used longest ago. Blocks of a wave stay in step along the depth, as they do the same work.
// What is written leaves the cache first (store_streaming) and takes no room. Nominal cache sizes; the two halves of A100's and H100's L2 may both hold
// a line, which is not counted.
#include <cstdio>
#include <list>
#include <unordered_map>

#include "../../cuda/attention_tiles.cuh"
#include "../../cuda/gemm.cuh"
#include "../../cuda/stitch_tiles.h"
#include "../../cuda/tile_order.cuh"

using namespace bts;
using namespace bts::cuda;

namespace {

class Cache {
 public:
  explicit Cache(int64_t bytes) : capacity_(bytes) {}
  // Counts what is not there.
  void touch(int64_t key, int64_t bytes) {
    const auto found = where_.find(key);
    if (found != where_.end()) {
      order_.splice(order_.begin(), order_, found->second);
      return;
    }
    moved += bytes;
    order_.push_front({key, bytes});
    where_[key] = order_.begin();
    used_ += bytes;
    for (; used_ > capacity_; order_.pop_back()) {
      used_ -= order_.back().bytes;
      where_.erase(order_.back().key);
    }
  }
  int64_t moved = 0;

 private:
  struct Line {
    int64_t key, bytes;
  };
  int64_t capacity_, used_ = 0;
  std::list<Line> order_;
  std::unordered_map<int64_t, std::list<Line>::iterator> where_;
};

struct Gpu {
  const char* name;
  int multiprocessors;
  int64_t l2_bytes;
};
constexpr Gpu kGpus[] = {{"A100", 108, 40 << 20}, {"H100", 132, 50 << 20}, {"B200", 148, 126 << 20}};
constexpr int kChunk = 256;  // depth that is one line of the cache for a panel
constexpr int kBytes = 2;    // of a bf16

// The operands of a stitch layer with channel gates as lines of the cache.
template <class S>
struct Operands {
  Cache cache;
  int chunks;
  Operands(const Gpu& gpu, int C) : cache(gpu.l2_bytes), chunks(ceil_div(C, kChunk)) {}
  static int64_t key(int array, int64_t panel, int chunk) { return (int64_t{array} << 40) | panel << 16 | chunk; }
  void hidden(int m, int row, int chunk) { cache.touch(key(m, row, chunk), S::kM * kChunk * kBytes); }
  void weight(int w, int col, int chunk) { cache.touch(key(100 + w, col, chunk), S::kN * kChunk * kBytes); }
  void write(int results) { cache.moved += results * S::kM * S::kN * kBytes; }
  // The tile's own channels of a hidden state, in the epilogue.
  void own(int m, int row, int col) { hidden(m, row, col * S::kN / kChunk); }
};

// Calls f for each wave of tiles with a function that calls its argument for each tile of the wave.
template <class S, class F>
void for_waves(const Gpu& gpu, int blocks, int band, int tile_rows, int tile_cols, F&& f) {
  const int at_once = gpu.multiprocessors * blocks, tiles = tile_rows * tile_cols;
  for (int first = 0; first < tiles; first += at_once)
    f([&](auto g) {
      for (int tile = first; tile < std::min(first + at_once, tiles); tile++)
        g(TileOrder(tile, tile_rows, tile_cols, band));
    });
}

// Device memory bytes of mix_kernel.
int64_t mix_bytes(const Gpu& gpu, int N, int M, int C) {
  using S = MixOf4;
  const int tile_rows = ceil_div(N, S::kM), tile_cols = ceil_div(C, S::kN);
  Operands<S> o(gpu, C);
  const int band = band_height(gpu.l2_bytes, int64_t{M} * C * kBytes, S::kM, tile_rows);
  for_waves<S>(gpu, 1, band, tile_rows, tile_cols, [&](auto wave) {
    for (int chunk = 0; chunk < o.chunks; chunk++)
      wave([&](const TileOrder& at) {
        o.hidden(0, at.row, chunk);
        for (int m = 0; m < M; m++) o.weight(m, at.col, chunk);
      });
    wave([&](const TileOrder& at) {
      o.own(0, at.row, at.col);
      o.write(M);  // gates
    });
    for (int e = 0; e + 1 < M; e++) {
      for (int chunk = 0; chunk < o.chunks; chunk++)
        wave([&](const TileOrder& at) {
          o.hidden(e + 1, at.row, chunk);
          o.weight(20 + e, at.col, chunk);
        });
      wave([&](const TileOrder&) { o.write(1); });  // projection
    }
    wave([&](const TileOrder&) { o.write(1); });  // the hub
  });
  return o.cache.moved;
}

// Device memory bytes of blend_kernel.
int64_t blend_bytes(const Gpu& gpu, int N, int M, int C) {
  using S = Blend;
  const int tile_rows = ceil_div(N, S::kM), tile_cols = ceil_div(C, S::kN);
  Operands<S> o(gpu, C);
  const int band = band_height(gpu.l2_bytes, int64_t{C} * kBytes, S::kM, tile_rows);
  for_waves<S>(gpu, 2, band, tile_rows, tile_cols * (M - 1), [&](auto wave) {
    for (int chunk = 0; chunk < o.chunks; chunk++)
      wave([&](const TileOrder& at) {
        o.hidden(0, at.row, chunk);
        for (int w = 0; w < 2; w++) o.weight(w, at.col, chunk);
      });
    wave([&](const TileOrder& at) {
      o.own(1 + at.col / tile_cols, at.row, at.col % tile_cols);
      o.write(3);  // gate, projection, result
      if (at.col < tile_cols) o.own(0, at.row, at.col), o.write(2);  // the hub's result and gate
    });
  });
  return o.cache.moved;
}

template <class S>
void shared(const char* name, bool last = false) {
  std::printf("    \"%s\": %zu%s\n", name, product_bytes<bf16, Depth::Inner, Depth::Inner, S>(), last ? "" : ",");
}

}  // namespace

int main() {
  constexpr int N = 8192, M = 4, C = 3072;
  std::printf("{\n  \"sharedBytes\": {\n");
  shared<LargeTile>("gemm large");
  shared<SmallTile>("gemm small");
  shared<MixOf4>("mix of 4");
  shared<MixOf8>("mix of 8");
  shared<MixOf16>("mix of 16");
  shared<Blend>("blend");
  std::printf("    \"attention\": %zu,\n    \"query_gradients\": %zu,\n    \"key_gradients\": %zu\n  },\n  \"stitchBytes\": {\n",
              ForwardTiles<bf16>::kSharedBytes<128>, BackwardTiles<bf16>::kQueriesShared<128>,
              BackwardTiles<bf16>::kKeysShared<128>);
  for (const Gpu& gpu : kGpus)
    std::printf("    \"%s\": {\"intoHub\": %lld, \"intoExperts\": %lld}%s\n", gpu.name,
                static_cast<long long>(mix_bytes(gpu, N, M, C)),
                static_cast<long long>(blend_bytes(gpu, N, M, C)), &gpu == &kGpus[2] ? "" : ",");
  std::printf("  }\n}\n");
}
