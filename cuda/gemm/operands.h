// Weights as the matrix kernels read them: in the type of the activations.
#pragma once

#include <vector>

#include "../cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// The weights' own memory where they have the activations' type already, as frozen bf16 weights do beside bf16
// activations; a copy in scratch memory otherwise (trained f32 masters, matrices in 8 and 4 bits), made by one launch. Each weight is
// [rows,cols].
std::vector<const act*> operands(Context& context, Weights weights, int64_t rows, int64_t cols);

// to [rows,cols] = the numbers of a matrix in 8 or 4 bits
template <class To>
void widen_matrix(Context& context, To* to, const Weight& from, int64_t rows, int64_t cols);

}  // namespace bts::cuda::BTS_PRECISION
