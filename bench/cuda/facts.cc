// Prints, as JSON, what the report needs and only the kernels' own headers know: shared memory of every tiled kernel, and
// the bytes that the stitch layers' products move between device memory and the L2 cache under the kernels' own order of
// tiles, at the paper's shape.
//
// The bytes are counted by walking the tiles as the persistent grid does, wave by wave, through a cache of the device's
// size that forgets what was used longest ago. Blocks of a wave stay in step along the depth, as they do the same work.
// Every launch begins with an empty cache; what is written leaves it first (store_streaming) and takes no room. Sizes are
// nominal: the two halves of A100's and H100's L2 may both hold a line, which is not counted.
#include <cstdio>
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../cuda/attention_backward_hopper.cuh"
#include "../../cuda/attention_hopper.cuh"
#include "../../cuda/attention_tiles.cuh"
#include "../../cuda/gemm/gemm.cuh"
#include "../../cuda/gemm/ring.cuh"
#include "../../cuda/stitch_tiles.h"

using namespace bts;
using namespace bts::cuda;

namespace {

struct Gpu {
  const char* name;
  int multiprocessors;
  int64_t l2_bytes;
};
constexpr Gpu kGpus[] = {{"A100", 108, 40 << 20}, {"H100", 132, 50 << 20}, {"B200", 148, 126 << 20}};
// Holds everything: what is moved then is every input and output once, the least there can be.
constexpr Gpu kBoundless = {"", 132, int64_t{1} << 40};

constexpr int kChunk = 512;  // depth of a panel that is one line of the simulated cache
constexpr int kBytes = 2;    // of a bf16

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

// One product of a tile: panels of arrays (named by numbers) over a depth, then its epilogue.
struct Step {
  std::vector<int> left, right;
  int depth;
  int64_t streamed;  // bytes per element of the tile that the epilogue reads or writes, each once
  int own = -1;      // an array of which the epilogue reads the tile's own columns
};

// What one tile does, step by step, for each result of a launch.
using Work = std::vector<std::vector<Step>>;

// Bytes moved by a launch whose order walks the tiles of one result after the other.
template <class S>
int64_t moved(const Gpu& gpu, int blocks, const TileOrder& order, const Work& work) {
  Cache cache(gpu.l2_bytes);
  const auto panel = [&](int array, int64_t at, int chunk, int height) {
    cache.touch((int64_t{array} << 40) | at << 16 | chunk, int64_t{height} * kChunk * kBytes);
  };
  const int tiles = order.tile_rows * order.tile_cols, at_once = gpu.multiprocessors * blocks;
  for (size_t first = 0; first < tiles * work.size(); first += at_once) {
    const size_t end = std::min(first + at_once, tiles * work.size());
    for (size_t s = 0; s < work[0].size(); s++) {
      for (int chunk = 0; chunk < ceil_div(work[0][s].depth, kChunk); chunk++)
        for (size_t i = first; i < end; i++) {
          const Tile at = order.at(i % tiles);
          const Step& step = work[i / tiles][s];
          for (const int array : step.left) panel(array, at.row, chunk, S::kM);
          for (const int array : step.right) panel(array, at.col, chunk, S::kN);
        }
      for (size_t i = first; i < end; i++) {
        const Tile at = order.at(i % tiles);
        const Step& step = work[i / tiles][s];
        cache.moved += step.streamed * S::kM * S::kN;
        if (step.own >= 0) panel(step.own, at.row, at.col * S::kN / kChunk, S::kM);
      }
    }
  }
  return cache.moved;
}

// As launch_gemm does, in wide tiles, which the GPUs above all have room for.
int64_t product(const Gpu& gpu, int rows, int cols, const Work& work) {
  int64_t depth = 0;
  for (const Step& step : work[0]) depth += step.depth;
  const Operands read{rows * depth * kBytes, cols * depth * kBytes};
  return moved<WideTile>(gpu, 1, read.order(gpu.l2_bytes, ceil_div(rows, WideTile::kM), ceil_div(cols, WideTile::kN)),
                         work);
}

// Numbers of arrays.
constexpr int kHidden = 0, kGate = 100, kProjection = 200, kDz = 300, kDp = 400;

// Experts-into-Hub: all projections by a product of their own, then mix_kernel, in a given order.
int64_t into_hub(const Gpu& gpu, const StitchSize& s, const TileOrder& order) {
  const int experts = s.M - 1;
  Work projections;
  for (int e = 0; e < experts; e++)
    projections.push_back(
        {{.left = {kHidden + e + 1}, .right = {kProjection + e}, .depth = int(s.C), .streamed = kBytes}});
  // Written are gates and the hub, projections are read back.
  Step gates{
      .left = {kHidden}, .right = {}, .depth = int(s.C), .streamed = (s.M + 1 + experts) * kBytes, .own = kHidden};
  for (int m = 0; m < s.M; m++) gates.right.push_back(kGate + m);
  return product(gpu, s.N, s.C, projections) + moved<WideMixOf4>(gpu, 1, order, {{gates}});
}
TileOrder into_hub_order(const Gpu& gpu, const StitchSize& s) {
  return mix_operands(s, kBytes).order(gpu.l2_bytes, ceil_div(s.N, WideMixOf4::kM), ceil_div(s.C, WideMixOf4::kN));
}
int64_t into_hub(const Gpu& gpu, const StitchSize& s) { return into_hub(gpu, s, into_hub_order(gpu, s)); }
// The least over all bands and both operands that may stay.
int64_t into_hub_best(const Gpu& gpu, const StitchSize& s) {
  const int rows = ceil_div(s.N, WideMixOf4::kM), cols = ceil_div(s.C, WideMixOf4::kN);
  int64_t least = INT64_MAX;
  for (const bool columns_stay : {false, true})
    for (int bands = 1; bands <= 8; bands++)
      least =
          std::min(least, into_hub(gpu, s, {rows, cols, ceil_div(columns_stay ? cols : rows, bands), columns_stay}));
  return least;
}

// Hub-into-Experts: blend_kernel.
int64_t into_experts(const Gpu& gpu, const StitchSize& s, const TileOrder& order) {
  // A gate, a projection, a result and the expert's own state; the hub's result and its gate, once for all experts.
  const int64_t E = s.M - 1, streamed = 4 * E + 2;
  const Work work{{{.left = {kHidden}, .right = {kGate, kProjection}, .depth = int(s.C), .streamed = 0, .own = -1}}};
  return moved<WideGated>(gpu, 1, order, work) + streamed * s.N * s.C * kBytes;
}
TileOrder into_experts_order(const Gpu& gpu, const StitchSize& s) {
  return blend_operands(s, kBytes).order(gpu.l2_bytes, ceil_div(s.N, WideGated::kM),
                                         ceil_div(s.C, WideGated::kN) * (s.M - 1));
}
int64_t into_experts_best(const Gpu& gpu, const StitchSize& s) {
  int64_t least = INT64_MAX;
  const TileOrder order = into_experts_order(gpu, s);
  for (const bool columns_stay : {false, true})
    for (int bands = 1; bands <= 8; bands++)
      least = std::min(least,
                       into_experts(gpu, s,
                                    {order.tile_rows, order.tile_cols,
                                     ceil_div(columns_stay ? order.tile_cols : order.tile_rows, bands), columns_stay}));
  return least;
}

// Both backwards: dz and dp from what the forward kept, gradients of weights in f32 that are added to, and dh.
int64_t backward(const Gpu& gpu, const StitchSize& s, bool mix) {
  const int64_t NC = s.N * s.C * kBytes, E = s.M - 1;
  const int first = mix ? 0 : 1;
  // Of Experts-into-Hub: dhub, gates, h_0, p, dprojected in, dz and dp out. Of the other: dout, gates, p, h in; dz, dp, dh out.
  int64_t bytes = mix ? (1 + s.M + 1 + E + E + s.M + E) * NC : 7 * E * NC;
  const int64_t added = 2 * sizeof(float);  // read and written
  bytes += product(gpu, (s.M - first) * s.C, s.C,
                   {{{.left = {kDz}, .right = {kHidden}, .depth = int(s.N), .streamed = added}}});
  Work proj;
  for (int e = 0; e < E; e++)
    proj.push_back(
        {{.left = {kDp + e}, .right = {mix ? kHidden + e + 1 : kHidden}, .depth = int(s.N), .streamed = added}});
  bytes += product(gpu, s.C, s.C, proj);
  std::vector<Step> hub;
  for (int m = first; m < s.M; m++)
    hub.push_back({.left = {kDz + m}, .right = {kGate + m}, .depth = int(s.C), .streamed = 0});
  if (!mix)
    for (int e = 0; e < E; e++)
      hub.push_back({.left = {kDp + e}, .right = {kProjection + e}, .depth = int(s.C), .streamed = 0});
  hub.back().streamed = (mix ? 3 : 2) * kBytes;  // dhub and its gate, or dout; dh
  bytes += product(gpu, s.N, s.C, {hub});
  if (!mix) return bytes;
  Work experts;
  for (int e = 0; e < E; e++)
    experts.push_back({{.left = {kDp + e}, .right = {kProjection + e}, .depth = int(s.C), .streamed = kBytes}});
  return bytes + product(gpu, s.N, s.C, experts);
}

template <class T>
void shared_bytes(const char* precision) {
  std::printf("    \"%s\": {", precision);
  const auto product = [](const char* name, size_t bytes) { std::printf("\"%s\": %zu, ", name, bytes); };
  constexpr Depth In = Depth::Inner, Out = Depth::Outer;
  const auto layouts = [&](const char* tile, size_t bytes) {  // the same in all of them
    for (const char* layout : {"Inner, Inner", "Inner, Outer", "Outer, Outer"})
      product((std::string("gemm_kernel<") + layout + ", " + tile).c_str(), bytes);
  };
  layouts("Shape<128, 256", product_bytes<T, In, In, WideTile>());
  layouts("Shape<128, 128", product_bytes<T, In, In, LargeTile>());
  layouts("Shape<64, 64", product_bytes<T, In, In, SmallTile>());
  product("swiglu_linear_kernel<Shape<128, 128", product_bytes<T, In, In, WideGated>());
  product("swiglu_linear_kernel<Shape<128, 64", product_bytes<T, In, In, LargeGated>());
  product("swiglu_linear_kernel<Shape<64", product_bytes<T, In, In, SmallGated>());
  product("mix_kernel<Shape<128, 64, 4, 2, 3", product_bytes<T, In, In, WideMixOf4>());
  product("mix_kernel<Shape<128, 64, 4, 2, 2", product_bytes<T, In, In, MixOf4>());
  product("mix_kernel<Shape<128, 32", product_bytes<T, In, In, MixOf8>());
  product("mix_kernel<Shape<128, 16", product_bytes<T, In, In, MixOf16>());
  product("blend_kernel<Shape<128, 128", product_bytes<T, In, In, WideGated>());
  product("blend_kernel<Shape<128, 64", product_bytes<T, In, In, LargeGated>());
  product("hopper_gemm_kernel<Inner, Inner, Shape<128, 256", Ring<In, In, HopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Outer, Shape<128, 256", Ring<In, Out, HopperTile>::kBytes);
  product("hopper_gemm_kernel<Outer, Outer, Shape<128, 256", Ring<Out, Out, HopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Inner, Shape<128, 128", Ring<In, In, SmallHopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Outer, Shape<128, 128", Ring<In, Out, SmallHopperTile>::kBytes);
  product("hopper_gemm_kernel<Outer, Outer, Shape<128, 128", Ring<Out, Out, SmallHopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Inner, Shape<64, 256", Ring<In, In, FlatHopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Outer, Shape<64, 256", Ring<In, Out, FlatHopperTile>::kBytes);
  product("hopper_gemm_kernel<Outer, Outer, Shape<64, 256", Ring<Out, Out, FlatHopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Inner, Shape<64, 128", Ring<In, In, SmallFlatHopperTile>::kBytes);
  product("hopper_gemm_kernel<Inner, Outer, Shape<64, 128", Ring<In, Out, SmallFlatHopperTile>::kBytes);
  product("hopper_gemm_kernel<Outer, Outer, Shape<64, 128", Ring<Out, Out, SmallFlatHopperTile>::kBytes);
  product("hopper_swiglu_linear_kernel<Shape<128", Ring<In, In, HopperGated>::kBytes);
  product("hopper_swiglu_linear_kernel<Shape<64, 128", Ring<In, In, FlatHopperGated>::kBytes);
  product("hopper_swiglu_linear_kernel<Shape<64, 64", Ring<In, In, SmallFlatHopperGated>::kBytes);
  product("hopper_mix_kernel<Shape<128, 64", Ring<In, In, HopperMixOf4>::kBytes);
  product("hopper_mix_kernel<Shape<128, 32", Ring<In, In, HopperMixOf8>::kBytes);
  product("hopper_blend_kernel", Ring<In, In, HopperGated>::kBytes);
  product("hopper_attention_kernel<64, 2", HopperAttention<64, 2>::kBytes);
  product("hopper_attention_kernel<64, 3", HopperAttention<64, 3>::kBytes);
  product("hopper_attention_kernel<128, 2", HopperAttention<128, 2>::kBytes);
  product("hopper_query_gradients_kernel<64", HopperQueries<64>::kSharedBytes);
  product("hopper_query_gradients_kernel<128", HopperQueries<128>::kSharedBytes);
  product("hopper_key_gradients_kernel<64", HopperKeys<64>::kSharedBytes);
  product("hopper_key_gradients_kernel<128", HopperKeys<128>::kSharedBytes);
  product("attention_kernel<64>", ForwardTiles<T, 64>::kSharedBytes);
  product("attention_kernel<128>", ForwardTiles<T, 128>::kSharedBytes);
  product("attention_kernel<256>", ForwardTiles<T, 256>::kSharedBytes);
  product("query_gradients_kernel<64>", BackwardTiles<T, 64>::kQueriesShared);
  product("query_gradients_kernel<128>", BackwardTiles<T, 128>::kQueriesShared);
  product("query_gradients_kernel<256>", BackwardTiles<T, 256>::kQueriesShared);
  product("key_gradients_kernel<64", BackwardTiles<T, 64>::kKeysShared);
  product("key_gradients_kernel<128", BackwardTiles<T, 128>::kKeysShared);
  std::printf("\"key_gradients_kernel<256\": %zu}", BackwardTiles<T, 256>::kKeysShared);
}

std::string describe(const TileOrder& order) {
  const int across = order.columns_stay ? order.tile_cols : order.tile_rows;
  const int bands = ceil_div(across, order.band);
  return std::string(order.columns_stay ? "weights" : "hidden states") + " stay" +
         (bands == 1 ? "" : ", in " + std::to_string(bands) + " bands");
}

void stitch(const char* name, int64_t bytes, int64_t least, int64_t best, const std::string& order) {
  std::printf("      {\"kernel\": \"%s\", \"bytes\": %lld, \"leastBytes\": %lld", name, static_cast<long long>(bytes),
              static_cast<long long>(least));
  if (best) std::printf(", \"bestOrderBytes\": %lld, \"order\": \"%s\"", static_cast<long long>(best), order.c_str());
  std::printf("}");
}

}  // namespace

int main() {
  const StitchSize s{.M = 4, .N = 8192, .C = 3072, .G = 3072, .dropout = {0, 0}};
  std::printf("{\n  \"sharedBytes\": {\n");
  shared_bytes<bf16>("bf16");
  std::printf(",\n");
  shared_bytes<float>("f32");
  std::printf("\n  },\n  \"stitch\": {\n");
  for (const Gpu& gpu : kGpus) {
    std::printf("%s    \"%s\": {\"l2Bytes\": %lld, \"layers\": [\n", &gpu == kGpus ? "" : ",\n", gpu.name,
                static_cast<long long>(gpu.l2_bytes));
    stitch("Experts-into-Hub forward", into_hub(gpu, s), into_hub(kBoundless, s), into_hub_best(gpu, s),
           describe(into_hub_order(gpu, s)));
    std::printf(",\n");
    stitch("Hub-into-Experts forward", into_experts(gpu, s, into_experts_order(gpu, s)),
           into_experts(kBoundless, s, into_experts_order(kBoundless, s)), into_experts_best(gpu, s),
           describe(into_experts_order(gpu, s)));
    std::printf(",\n");
    stitch("Experts-into-Hub backward", backward(gpu, s, true), backward(kBoundless, s, true), 0, "");
    std::printf(",\n");
    stitch("Hub-into-Experts backward", backward(gpu, s, false), backward(kBoundless, s, false), 0, "");
    std::printf("\n    ]}");
  }
  std::printf("\n  }\n}\n");
}
