// Matrices as Hopper's tensor memory accelerator reads them.
#pragma once

#include <cstdint>

#if !defined(__CUDACC__)
#include "../emulation/hopper.h"
#elif defined(BTS_SM90A)
#include <cuda.h>
#endif

// Whether this build has code for Hopper: a section for sm_90a, or the emulation. There is only one GPU family of compute
// capability 9, and all of it runs that section.
#if !defined(__CUDACC__) || defined(BTS_SM90A)
#define BTS_HOPPER 1
#endif

namespace bts::cuda {

#if !defined(__CUDACC__)
using TensorMap = emu::TensorMap;
#elif defined(BTS_SM90A)
using TensorMap = CUtensorMap;
#endif

#if defined(BTS_HOPPER)
// Of a matrix of bf16, and of the box that one copy takes of it: `box_rows` (at most 256) rows of 64 elements, 128 bytes.
// `data` and `stride`, in elements, are multiples of 16 bytes. Throws DEVICE_FAILED.
TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t stride, int box_rows);
#endif

}  // namespace bts::cuda
