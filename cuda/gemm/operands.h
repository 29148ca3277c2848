// Weights as the matrix kernels read them: in the type of the activations.
#pragma once

#include <vector>

#include "../cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// The weights' own memory where they have the activations' type already, as frozen bf16 weights do beside bf16
// activations; a copy of n elements each in scratch memory otherwise (trained f32 masters), made by one launch.
std::vector<const act*> operands(Context& context, Weights weights, int64_t n);

}  // namespace bts::cuda::BTS_PRECISION
