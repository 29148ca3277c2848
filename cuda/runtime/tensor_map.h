// Arrays as Hopper's tensor memory accelerator reads them.
#pragma once

#include <cstdint>
#include <initializer_list>

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
// One dimension of an array: how many there are, how many elements lie between two, and how many one copy takes.
struct Dimension {
  int64_t size, stride;
  int box;
};

// Of an array of bf16 with two dimensions or four, the innermost first, whose neighbours are elements, and of the boxes that
// copies take of it: 64 elements of the innermost, 128 bytes, at most 256 of the others. `data` and all strides are
// multiples of 16 bytes. Throws DEVICE_FAILED.
TensorMap tensor_map(const void* data, std::initializer_list<Dimension> dimensions);

// The columns of a box.
constexpr int kBoxCols = 64;

// Of a matrix, in boxes of `box_rows` rows.
inline TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t stride, int box_rows) {
  return tensor_map(data, {{cols, 1, kBoxCols}, {rows, stride, box_rows}});
}
#endif

}  // namespace bts::cuda
