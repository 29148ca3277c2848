// The tiles of the stitch kernels and what they read, for the kernels themselves and for whoever counts what they move.
#pragma once

#include "gemm/pipeline.cuh"
#include "gemm/tile_order.cuh"

namespace bts::cuda {

// Experts-into-Hub holds the gate logits of all members at once, so more members mean narrower tiles: with each of the
// shapes a thread has 128 sums of logits.
using WideMixOf4 = Shape<128, 64, 4, 2, 3, 4>;
using MixOf4 = Shape<128, 64, 4, 2, 2, 4>;  // where three stages do not fit
using MixOf8 = Shape<128, 32, 8, 1, 2, 8>;
using MixOf16 = Shape<128, 16, 8, 1, 2, 16>;
using HopperMixOf4 = Shape<128, 64, 8, 1, 4, 4>;
using HopperMixOf8 = Shape<128, 32, 8, 1, 4, 8>;

constexpr int kStitchMembers = 16;

// Experts-into-Hub with a gate for every channel: its tiles read h_0 and the weights of all gates. Projections are made
// before, by a product of their own, so that h_e and their weights do not crowd the L2 cache.
inline Operands mix_operands(const StitchSize& size, int64_t bytes) {
  return {size.N * size.C * bytes, size.M * size.C * size.C * bytes};
}

// Hub-into-Experts: h_0, and a gate's and a projection's weight for each expert.
inline Operands blend_operands(const StitchSize& size, int64_t bytes) {
  return {size.N * size.C * bytes, 2 * (size.M - 1) * size.C * size.C * bytes};
}

}  // namespace bts::cuda
