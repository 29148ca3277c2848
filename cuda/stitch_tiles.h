// The tiles of the stitch kernels, for the kernels themselves and for whoever counts what they move.
#pragma once

#include "tile.cuh"

namespace bts::cuda {

// Experts-into-Hub holds the gate logits of all members at once, so more members mean smaller tiles: with each of the
// three shapes a thread has 128 sums of logits at most.
using MixOf4 = Shape<128, 64, 4, 2, 3, 4>;
using MixOf8 = Shape<64, 64, 4, 2, 2, 8>;
using MixOf16 = Shape<64, 32, 4, 2, 2, 16>;

// Its projections follow one after the other, in the same tile.
template <class S>
using OneOf = Shape<S::kM, S::kN, S::kWarpsM, S::kWarpsN, S::kStages>;

// Hub-into-Experts needs one gate and one projection at a time.
using Blend = Shape<128, 64, 4, 2, 4, 2>;

constexpr int kStitchMembers = 16;

}  // namespace bts::cuda
