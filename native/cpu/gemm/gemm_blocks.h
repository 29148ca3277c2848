// One task of a matrix product, for steps of either kind: packs block by block and passes tiles to the microkernel.
#pragma once

#include <algorithm>
#include <type_traits>

#include "gemm.h"

namespace bts::cpu::BTS_ISA {

// The cache blocks, KC, NC and MC in the words of BLIS. KC steps: a panel of B [KC, NR] stays in the first-level cache while
// rows of A pass by it, and the result is read and written once for each block.
constexpr int64_t kKC = 384;
// NC columns of B are packed at a time, and MC rows of A pass by before the next: both blocks stay in the second-level cache.
constexpr int64_t kNC = 8 * kNR;
constexpr int64_t kMC = 10 * kMR;
// So many blocks of the depth of B are packed together: rows pass by all of them while their part of the result is in a
// cache. Panels of narrow vectors leave room for two.
constexpr int64_t kDepthBlocks = kLanes == 8 ? 2 : 1;
// Rows of A whose distance is a multiple of this share few sets of the first-level cache and would drive each other out.
constexpr int64_t kConflictBytes = 2048;
inline bool conflicts(int64_t stride) { return stride * int64_t(sizeof(float)) % kConflictBytes == 0; }
// Rows that are copied together are set off by a line.
constexpr int64_t kCopyStride = kKC + 16;

// The part of a result that one task computes. How a result is cut changes who computes an element, never how.
struct Block {
  int64_t rows, cols;
};

struct Task {
  const Product* product;
  int64_t row, col;
  Block size;
};

// What one worker packs into.
template <class Step>
struct Workspace {
  static_assert(sizeof(Step) == sizeof(float));
  Step *left, *right;
  static constexpr int64_t kLeft = kMC * kCopyStride;
  static constexpr int64_t kRight = kDepthBlocks * kNC * kKC;
  explicit Workspace(float* memory) : left(reinterpret_cast<Step*>(memory)), right(left + kLeft) {}
};

// Rows of the left operand over one block of the depth, as the microkernel takes them.
template <class Step>
struct LeftBlock {
  const Step* data;
  int64_t stride;    // between rows
  const Step* last;  // where the last rows do not fill a tile: those, zero-padded, kCopyStride apart
};

template <class Step>
LeftBlock<Step> left_block(Step* buffer, const Product& p, const Region& r) {
  if constexpr (std::is_same_v<Step, float>)
    if (p.a.col_stride != 1) {
      copy_along(buffer, kCopyStride, p.a, r);
      return {buffer, kCopyStride, nullptr};
    }
  const int64_t stride = p.a.row_stride / kNumbersPerStep<Step>;
  const Step* data =
      static_cast<const Step*>(p.a.storage.data) + r.first * stride + r.first_depth / kNumbersPerStep<Step>;
  if constexpr (std::is_same_v<Step, float>) {
    if (conflicts(stride)) {
      copy_rows(buffer, kCopyStride, p.a, r);
      return {buffer, kCopyStride, nullptr};
    }
    const int64_t full = r.count / kMR * kMR;
    if (full < r.count) {
      copy_rows(buffer, kCopyStride, p.a, {r.first + full, r.count - full, r.first_depth, r.depth});
      return {data, stride, buffer};
    }
  }
  return {data, stride, nullptr};
}

// Brings the beginning of the next tile's rows closer; what follows in each, the processor brings along by itself. Lower tiles
// come to the next one sooner; high ones gain nothing.
template <class Step>
inline void fetch_rows(const LeftBlock<Step>& left, int64_t first, int64_t last) {
  if constexpr (kLanes != 8) return;
  for (int64_t i = first; i < last; i++)
    for (int64_t line = 0; line < 2; line++) __builtin_prefetch(left.data + i * left.stride + line * 16);
}

// One block of the depth for the rows in `left`: all columns that are packed in `right`, the result at (row, col).
template <class Step>
struct DepthBlock {
  const Step* right;
  int64_t steps;
  const float* add;      // with C's layout, or null
  const float* columns;  // bias, or null
};

template <class Step>
void multiply_block(const Product& p, const DepthBlock<Step>& block, const LeftBlock<Step>& left, int64_t row,
                    int64_t rows, int64_t col, int64_t cols) {
  for (int64_t j = 0; j < cols; j += kNR)
    for (int64_t i = 0; i < rows; i += kMR) {
      const int64_t height = std::min<int64_t>(kMR, rows - i), width = std::min<int64_t>(kNR, cols - j);
      const int64_t at = (row + i) * p.c_stride + col + j;
      const Addend add{block.add ? block.add + at : nullptr, p.c_stride, block.columns ? block.columns + j : nullptr};
      const auto multiply = [&](auto a) {
        multiply_tile(p.c + at, p.c_stride, a, block.right + j * block.steps, block.steps, height, width, add);
      };
      fetch_rows(left, i + kMR, std::min<int64_t>(rows, i + 2 * kMR));
      if (height < kMR && left.last) multiply(PlainRows{left.last, kCopyStride});
      else multiply(PlainRows{left.data + i * left.stride, left.stride});
    }
}

template <class Step>
void run(const Task& task, Workspace<Step> space) {
  constexpr int64_t kDepthBlock = kKC * kNumbersPerStep<Step>;
  const Product& p = *task.product;
  const int64_t cols = std::min(task.size.cols, p.cols - task.col);
  const int64_t end = std::min(task.row + task.size.rows, p.rows);
  float columns[kNC] = {};
  if (p.bias)
    with_reader(*p.bias, [&](auto bias) {
      for (int64_t j = 0; j < cols; j++) columns[j] = bias.at(task.col + j);
    });
  const auto depth_at = [&](int64_t k) { return std::min(kDepthBlock, p.depth - k); };
  const auto right_at = [&](int64_t k) { return space.right + k / kDepthBlock % kDepthBlocks * kNC * kKC; };
  // At least once: a product over no depth at all has to be written too.
  for (int64_t first = 0; first == 0 || first < p.depth; first += kDepthBlocks * kDepthBlock) {
    const int64_t last = std::min(p.depth, first + kDepthBlocks * kDepthBlock);
    for (int64_t k = first; k < last; k += kDepthBlock) pack_cols(right_at(k), p.b, {task.col, cols, k, depth_at(k)});
    for (int64_t row = task.row; row < end; row += kMC) {
      const int64_t rows = std::min(kMC, end - row);
      for (int64_t k = first; k == 0 || k < last; k += kDepthBlock) {
        const DepthBlock<Step> block{right_at(k), steps_of<Step>(depth_at(k)), k > 0 || p.accumulate ? p.c : p.residual,
                                     k == 0 && p.bias ? columns : nullptr};
        multiply_block(p, block, left_block(space.left, p, {row, rows, k, depth_at(k)}), row, rows, task.col, cols);
      }
    }
  }
}

// run, with operands rounded to bf16; only where the processor multiplies them.
void run_bf16(const Task& task, float* workspace);

}  // namespace bts::cpu::BTS_ISA
