#pragma once

#include "gpu.cuh"

namespace bts::cuda {

__device__ __forceinline__ float swiglu(float gate, float up) { return gate / (1 + expf(-gate)) * up; }

}  // namespace bts::cuda
