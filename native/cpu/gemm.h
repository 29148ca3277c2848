// Matrix products in f32 on packed panels (Goto & van de Geijn 2008): both operands are first laid out in the order in
// which the microkernel reads them, widened to f32, then tiles of the result are computed independently. Every element
// of the result is summed over the depth in one order, which depends on no thread count.
#pragma once

#include <span>

#include "arena.h"
#include "simd.h"
#include "thread_pool.h"

namespace bts::cpu::BTS_ISA {

// The microkernel keeps kTileRows x kTileCols of the result in registers.
#if BTS_LANES == 16
constexpr int kTileRows = 14;
#elif BTS_LANES == 8
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileCols = 2 * kLanes;

// A matrix in any layout: element (i, j) lies at data[i * row_stride + j * col_stride].
struct Matrix {
  Weight storage;
  int64_t row_stride, col_stride;
};

inline Matrix row_major(const float* data, int64_t stride) { return {{data, DType::F32}, stride, 1}; }
inline Matrix transposed(const float* data, int64_t stride) { return {{data, DType::F32}, 1, stride}; }

// C = A B (+ C if accumulate) (+ bias per column) (+ residual)      A [rows, depth]  B [depth, cols]  C [rows, cols]
struct Product {
  Matrix a, b;
  float* c;
  int64_t c_stride;
  int64_t rows, cols, depth;
  bool accumulate = false;
  const Weight* bias = nullptr;
  const float* residual = nullptr;  // same layout as c, and may be c
};

// Computes all products, their tiles shared out over the pool's threads.
void multiply(std::span<const Product> products, ThreadPool& pool, Arena& scratch);

// The parts, for kernels that keep their own blocks. Panels are zero-padded to whole tiles.
inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
inline int64_t packed_rows_size(int64_t rows, int64_t depth) { return round_up(rows, kTileRows) * depth; }
inline int64_t packed_cols_size(int64_t cols, int64_t depth) { return round_up(cols, kTileCols) * depth; }
// Packs rows first..first+count-1 of A, scaled; first is a multiple of kTileRows when a matrix is packed in parts.
void pack_rows(float* packed, const Matrix& a, int64_t first, int64_t count, int64_t depth, float scale = 1);
void pack_cols(float* packed, const Matrix& b, int64_t first, int64_t count, int64_t depth);
// C (+)= A B for packed operands of one depth, on the calling thread.
void multiply_packed(float* c, int64_t c_stride, const float* a, const float* b, int64_t rows, int64_t cols,
                     int64_t depth, bool accumulate);

}  // namespace bts::cpu::BTS_ISA
