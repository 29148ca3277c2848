// The innermost loop of every matrix product: a tile of the result is held in registers while the depth is walked.
// Every element is summed over the depth in one order, whatever the operands' layout and whoever computes the tile.
#pragma once

#include "../simd.h"
#include "pairs.h"

namespace bts::cpu::BTS_ISA {

// The register tile, MR x NR in the words of BLIS: as many sums as there are registers, less those that the operands pass
// through.
#if BTS_LANES == 16
constexpr int kMR = 14;
#elif defined(__aarch64__)
constexpr int kMR = 12;
#elif BTS_LANES == 8
constexpr int kMR = 6;
#else
constexpr int kMR = 4;
#endif
constexpr int kNR = 2 * kLanes;

// The depth is walked in steps: of one number, or of a Pair. The left operand's rows of a tile: side by side, for each step
// kMR values in a row, `step` apart, as in a packed panel or in a transposed matrix; plain, as they lie in a row-major
// matrix, `stride` apart.
template <class Step>
struct RowsSideBySide {
  const Step* data;
  int64_t step;
};
template <class Step>
struct PlainRows {
  const Step* data;
  int64_t stride;
};

// What is added to a finished tile: another matrix (null: nothing), and a value for each column (null: nothing).
struct Addend {
  const float* matrix;
  int64_t stride;
  const float* columns;
};

using TileSums = vfloat[kMR][2];

// sum + a b where sums and operands fill all registers. By name: g++ 12 moves sums between registers, and through memory.
template <class Vector>
inline vfloat add_product(Vector a, Vector b, vfloat sum) {
#if BTS_LANES == 8
  asm("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
  return sum;
#else
  return multiply_add(a, b, sum);
#endif
}

template <class Step>
inline void accumulate(TileSums& sums, RowsSideBySide<Step> a, const Step* b, int64_t steps) {
  for (int64_t k = 0; k < steps; k++, a.data += a.step, b += kNR) {
    const auto b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kMR; i++) {
      const auto ai = splat(a.data[i]);
      sums[i][0] = add_product(ai, b0, sums[i][0]);
      sums[i][1] = add_product(ai, b1, sums[i][1]);
    }
  }
}

template <class Step>
inline void accumulate(TileSums& sums, PlainRows<Step> a, const Step* b, int64_t steps) {
  // One pointer for three rows: with the stride as an index that is all that the address modes need, and few enough for
  // the registers.
  constexpr int kPointers = (kMR + 2) / 3;
  constexpr int kUnrolled = 4;
  const Step* rows[kPointers];
#pragma GCC unroll 8
  for (int p = 0; p < kPointers; p++) rows[p] = a.data + 3 * p * a.stride;
  const auto step = [&](int k) __attribute__((always_inline)) {
    const auto b0 = load(b + k * kNR), b1 = load(b + k * kNR + kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kMR; i++) {
      const auto ai = splat(rows[i / 3][(i % 3) * a.stride + k]);
      sums[i][0] = add_product(ai, b0, sums[i][0]);
      sums[i][1] = add_product(ai, b1, sums[i][1]);
    }
  };
  const auto advance = [&](int count) __attribute__((always_inline)) {
#pragma GCC unroll 8
    for (int p = 0; p < kPointers; p++) rows[p] += count;
    b += count * kNR;
  };
  int64_t k = 0;
  for (; k + kUnrolled <= steps; k += kUnrolled) {
#pragma GCC unroll 4
    for (int s = 0; s < kUnrolled; s++) step(s);
    advance(kUnrolled);
  }
  for (; k < steps; k++) {
    step(0);
    advance(1);
  }
}

// C = A B + addend for one tile. A has kMR rows and B, packed as [steps][kNR], kNR columns; of the
// result only rows x cols exist.
template <class Rows, class Step>
void multiply_tile(float* c, int64_t c_stride, Rows a, const Step* b, int64_t steps, int64_t rows, int64_t cols,
                   const Addend& add) {
  // The result's lines come from memory while the sums are computed.
  for (int64_t i = 0; i < rows; i++)
    for (int line = 0; line < kNR; line += 16) {
      __builtin_prefetch(c + i * c_stride + line, 1);
      if (add.matrix && add.matrix != c) __builtin_prefetch(add.matrix + i * add.stride + line);
    }
  TileSums sums = {};
  accumulate(sums, a, b, steps);
  if (rows == kMR && cols == kNR) {
    const auto write = [&](auto total) __attribute__((always_inline)) {
#pragma GCC unroll 16
      for (int i = 0; i < kMR; i++) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) store(c + i * c_stride + half * kLanes, total(sums[i][half], i, half));
      }
    };
    // Asked once, and not for each vector: short depths end often.
    if (kLanes == 8 && !add.columns) {
      const float* matrix = add.matrix;
      const int64_t stride = add.stride;
      if (!matrix) return write([](vfloat sum, int, int) { return sum; });
      return write([&](vfloat sum, int i, int half) { return sum + load(matrix + i * stride + half * kLanes); });
    }
#pragma GCC unroll 16
    for (int i = 0; i < kMR; i++) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        vfloat sum = sums[i][half];
        if (add.matrix) sum += load(add.matrix + i * add.stride + half * kLanes);
        if (add.columns) sum += load(add.columns + half * kLanes);
        store(c + i * c_stride + half * kLanes, sum);
      }
    }
    return;
  }
  alignas(64) float tile[kMR][kNR];
#pragma GCC unroll 16
  for (int i = 0; i < kMR; i++) {
    store(tile[i], sums[i][0]);
    store(tile[i] + kLanes, sums[i][1]);
  }
  for (int64_t i = 0; i < rows; i++)
    for_vectors(0, cols, [&](int64_t j, auto lanes) {
      vfloat sum = load(tile[i] + j);
      if (add.matrix) sum += lanes.load(add.matrix + i * add.stride, j);
      if (add.columns) sum += lanes.load(add.columns, j);
      lanes.store(c + i * c_stride, j, sum);
    });
}

}  // namespace bts::cpu::BTS_ISA
