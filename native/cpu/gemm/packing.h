// Lays operands of a matrix product out in the order in which the microkernel reads them: in steps along the depth, of one
// number widened to f32, or of a Pair. Of an odd depth the last pair has a zero.
#pragma once

#include "microkernel.h"

namespace bts::cpu::BTS_ISA {

// A matrix in any layout: element (i, j) lies at data[i * row_stride + j * col_stride].
struct Matrix {
  Weight storage;
  int64_t row_stride, col_stride;
};

inline Matrix row_major(const float* data, int64_t stride) { return {{data, DType::F32}, stride, 1}; }
inline Matrix transposed(const float* data, int64_t stride) { return {{data, DType::F32}, 1, stride}; }

// A part of an operand: `count` lines (rows of the left operand, columns of the right) along `depth` numbers.
struct Region {
  int64_t first, count, first_depth, depth;
};

template <class Step>
constexpr int64_t kNumbersPerStep = 1;
template <>
inline constexpr int64_t kNumbersPerStep<Pair> = 2;
template <class Step>
constexpr int64_t steps_of(int64_t depth) {
  return (depth + kNumbersPerStep<Step> - 1) / kNumbersPerStep<Step>;
}

// Panels are zero-padded to whole tiles.
constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t packed_cols_size(int64_t cols, int64_t depth) { return round_up(cols, kNR) * depth; }

// Packs columns of B: panels of kNR, each [steps][kNR].
void pack_cols(float* packed, const Matrix& b, const Region& part);
void pack_cols(Pair* packed, const Matrix& b, const Region& part);
// Rows of A, which holds f32 and lies across the depth, so that they lie along it, `stride` apart.
void copy_along(float* copy, int64_t stride, const Matrix& a, const Region& part);
// Rows of A, which holds f32 and is contiguous along the depth, `stride` steps apart; copied ones fill their last tile with
// rows of zeros.
void copy_rows(float* copy, int64_t stride, const Matrix& a, const Region& part);
void round_rows(Pair* rounded, int64_t stride, const Matrix& a, const Region& part);

}  // namespace bts::cpu::BTS_ISA
