// Lays operands of a matrix product out in the order in which the microkernel reads them, widened to f32.
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

// A part of an operand: `count` lines (rows of the left operand, columns of the right) along `depth` steps.
struct Region {
  int64_t first, count, first_depth, depth;
};

// Panels are zero-padded to whole tiles.
constexpr int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t packed_rows_size(int64_t rows, int64_t depth) { return round_up(rows, kTileRows) * depth; }
inline int64_t packed_cols_size(int64_t cols, int64_t depth) { return round_up(cols, kTileCols) * depth; }

// Packs rows of A, scaled: panels of kTileRows, each [depth][kTileRows].
void pack_rows(float* packed, const Matrix& a, const Region& part, float scale = 1);
// Packs columns of B: panels of kTileCols, each [depth][kTileCols].
void pack_cols(float* packed, const Matrix& b, const Region& part);

}  // namespace bts::cpu::BTS_ISA
