// The tiles of the stitch kernels and what they read, for the kernels themselves and for whoever counts what they move.
#pragma once

#include "gemm/pipeline.cuh"
#include "gemm/tile_order.cuh"

namespace bts::cuda {

// Experts-into-Hub holds the gate logits of all members at once, so more members mean narrower tiles: with each of the
// three shapes a thread has 128 sums of logits.
using MixOf4 = Shape<128, 64, 4, 2, 2, 4>;
using MixOf8 = Shape<128, 32, 8, 1, 2, 8>;
using MixOf16 = Shape<128, 16, 8, 1, 2, 16>;

// Its projections follow one after the other, in the same tile.
template <class S>
using OneOf = Shape<S::kM, S::kN, S::kWarpsM, S::kWarpsN, S::kStages>;

// Hub-into-Experts needs one gate and one projection at a time.
using Blend = Shape<128, 64, 4, 2, 3, 2>;

constexpr int kStitchMembers = 16;

// Experts-into-Hub reads h of all members and all weights. Where they are larger than the L2 cache, a projection may be
// made ahead, by a product of its own: it is read back once, but h_e and its weight no longer fill the cache, and the
// others pass by less often.
struct MixTraffic {
  StitchSize size;
  int64_t bytes;  // of an element

  int64_t hidden() const { return size.N * size.C * bytes; }
  int64_t weight() const { return size.C * size.C * bytes; }
  // Of the mixing kernel itself, with the first `ahead` projections there.
  Operands mix(int64_t ahead) const {
    const int64_t gated = size.G > 1 ? 1 : 0, fused = size.M - 1 - ahead;
    return {(gated + fused) * hidden(), (gated * size.M + fused) * weight()};
  }
  Operands projection() const { return {hidden(), weight()}; }
  // The number of them with which the fewest bytes are read.
  int experts_ahead(size_t l2_bytes) const {
    const auto total = [&](int64_t ahead) {
      return ahead * (projection().bytes(l2_bytes) + hidden()) + mix(ahead).bytes(l2_bytes);
    };
    int64_t best = 0;
    for (int64_t ahead = 1; ahead < size.M; ahead++)
      if (total(ahead) < total(best)) best = ahead;
    return static_cast<int>(best);
  }
};

// Hub-into-Experts: h_0, and a gate's and a projection's weight for each expert.
inline Operands blend_operands(const StitchSize& size, int64_t bytes) {
  const int64_t weights = (size.G > 1 ? 2 : 1) * (size.M - 1);
  return {size.N * size.C * bytes, weights * size.C * size.C * bytes};
}

}  // namespace bts::cuda
