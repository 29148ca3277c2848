// Frozen matrices in 8 and 4 bits. Each row is cut into groups along the input, and a group has numbers of its own to widen its
// codes with. The last group of a row is filled up, so that rows are whole groups.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "types.h"

namespace bts {

// w = scale code
struct Int8Group {
  static constexpr int64_t kNumbers = 128;
  float scale;
  int8_t codes[kNumbers];  // -127..127
};

// w = scale code + offset
struct Int4Group {
  static constexpr int64_t kNumbers = 32;
  float scale, offset;
  uint8_t codes[kNumbers / 2];  // the low bits of byte k are number k's, the high ones those of number k + 16
};

constexpr bool is_quantized(DType dtype) { return dtype == DType::Int8 || dtype == DType::Int4; }

// Numbers from one row of a matrix to the next.
constexpr int64_t row_stride(DType dtype, int64_t width) {
  const int64_t group = dtype == DType::Int8 ? Int8Group::kNumbers : dtype == DType::Int4 ? Int4Group::kNumbers : 1;
  return (width + group - 1) / group * group;
}

constexpr int64_t bytes_of(DType dtype, int64_t rows, int64_t width) {
  const int64_t numbers = rows * row_stride(dtype, width);
  if (dtype == DType::Int8) return numbers / Int8Group::kNumbers * int64_t(sizeof(Int8Group));
  if (dtype == DType::Int4) return numbers / Int4Group::kNumbers * int64_t(sizeof(Int4Group));
  return numbers * int64_t(size_of(dtype));
}

// Of an array, whose innermost size is the last one.
inline int64_t bytes_of(DType dtype, const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); i++) rows *= shape[i];
  return bytes_of(dtype, rows, shape.empty() ? 1 : shape.back());
}

}  // namespace bts
