#include "gemm.h"

#include <algorithm>
#include <vector>

#include "gemv.h"

namespace bts::cpu::BTS_ISA {

namespace {

// A panel of B of this depth stays close while rows pass by it, and the result is not visited too often.
constexpr int64_t kDepthBlock = 384;
// So many columns of B are packed at a time, and so many rows of A pass by before the next: both stay in the
// second-level cache.
constexpr int64_t kColBlock = 8 * kTileCols;
constexpr int64_t kRowBlock = 10 * kTileRows;
// Tasks for each thread at least, where the result is large enough: one that ends late keeps nobody waiting for long.
constexpr int64_t kTasksPerThread = 4;
// Rows of A so far apart share few sets of the first-level cache and would drive each other out.
constexpr int64_t kConflictBytes = 2048;
// Rows that are copied together are set off by a line.
constexpr int64_t kCopyStride = kDepthBlock + 16;

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
struct Workspace {
  float *left, *right;
  static constexpr int64_t kLeft = kRowBlock * kCopyStride;
  static constexpr int64_t kRight = kColBlock * kDepthBlock;
  explicit Workspace(float* memory) : left(memory), right(memory + kLeft) {}
};

int64_t count_tasks(std::span<const Product> products, Block block) {
  int64_t count = 0;
  for (const auto& p : products)
    count += ((p.rows + block.rows - 1) / block.rows) * ((p.cols + block.cols - 1) / block.cols);
  return count;
}

// Halves the longer side of the blocks, in whole tiles, until all threads have work.
Block choose_block(std::span<const Product> products, int threads) {
  Block block{kTileRows, kColBlock};
  for (const auto& p : products) block.rows = std::max(block.rows, round_up(p.rows, kTileRows));
  while (count_tasks(products, block) < kTasksPerThread * threads) {
    const int64_t row_tiles = block.rows / kTileRows, col_tiles = block.cols / kTileCols;
    if (row_tiles <= 2 && col_tiles <= 1) break;
    if (block.rows > block.cols || col_tiles == 1) block.rows = (row_tiles + 1) / 2 * kTileRows;
    else block.cols = (col_tiles + 1) / 2 * kTileCols;
  }
  return block;
}

// Rows of the left operand over one block of the depth, as the microkernel takes them.
struct LeftBlock {
  const float* data;
  int64_t stride;    // between rows; 0: packed
  const float* last;  // where the last rows do not fill a tile: those, zero-padded, kCopyStride apart
};

void copy_rows(float* to, const Product& p, const Region& r) {
  const float* from = static_cast<const float*>(p.a.storage.data) + r.first * p.a.row_stride + r.first_depth;
  for (int64_t i = 0; i < r.count; i++) std::copy_n(from + i * p.a.row_stride, r.depth, to + i * kCopyStride);
  for (int64_t i = r.count; i < round_up(r.count, kTileRows); i++) std::fill_n(to + i * kCopyStride, r.depth, 0.0f);
}

LeftBlock left_block(float* buffer, const Product& p, const Region& r) {
  if (p.a.col_stride != 1) {
    pack_rows(buffer, p.a, r);
    return {buffer, 0, nullptr};
  }
  if (p.a.row_stride * int64_t(sizeof(float)) % kConflictBytes == 0) {
    copy_rows(buffer, p, r);
    return {buffer, kCopyStride, nullptr};
  }
  const int64_t full = r.count / kTileRows * kTileRows;
  if (full < r.count) copy_rows(buffer, p, {r.first + full, r.count - full, r.first_depth, r.depth});
  const float* data = static_cast<const float*>(p.a.storage.data) + r.first * p.a.row_stride + r.first_depth;
  return {data, p.a.row_stride, full < r.count ? buffer : nullptr};
}

// One block of the depth for the rows in `left`: all columns that are packed in `right`, the result at (row, col).
struct DepthBlock {
  const float* right;
  int64_t depth;
  const float* add;      // with C's layout, or null
  const float* columns;  // bias, or null
};

void multiply_block(const Product& p, const DepthBlock& block, const LeftBlock& left, int64_t row, int64_t rows,
                    int64_t col, int64_t cols) {
  for (int64_t j = 0; j < cols; j += kTileCols)
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const int64_t height = std::min<int64_t>(kTileRows, rows - i), width = std::min<int64_t>(kTileCols, cols - j);
      const int64_t at = (row + i) * p.c_stride + col + j;
      const Addend add{block.add ? block.add + at : nullptr, p.c_stride, block.columns ? block.columns + j : nullptr};
      const auto multiply = [&](auto a) {
        multiply_tile(p.c + at, p.c_stride, a, block.right + j * block.depth, block.depth, height, width, add);
      };
      if (left.stride == 0) multiply(RowsSideBySide{left.data + i * block.depth, kTileRows});
      else if (height < kTileRows && left.last) multiply(PlainRows{left.last, kCopyStride});
      else multiply(PlainRows{left.data + i * left.stride, left.stride});
    }
}

void run(const Task& task, Workspace space) {
  const Product& p = *task.product;
  const int64_t cols = std::min(task.size.cols, p.cols - task.col);
  const int64_t end = std::min(task.row + task.size.rows, p.rows);
  float columns[kColBlock] = {};
  if (p.bias)
    with_reader(*p.bias, [&](auto bias) {
      for (int64_t j = 0; j < cols; j++) columns[j] = bias.at(task.col + j);
    });
  // At least once: a product over no depth at all has to be written too.
  for (int64_t k = 0; k == 0 || k < p.depth; k += kDepthBlock) {
    const int64_t depth = std::min(kDepthBlock, p.depth - k);
    pack_cols(space.right, p.b, {task.col, cols, k, depth});
    const DepthBlock block{space.right, depth, k > 0 || p.accumulate ? p.c : p.residual,
                           k == 0 && p.bias ? columns : nullptr};
    for (int64_t row = task.row; row < end; row += kRowBlock) {
      const int64_t rows = std::min(kRowBlock, end - row);
      multiply_block(p, block, left_block(space.left, p, {row, rows, k, depth}), row, rows, task.col, cols);
    }
  }
}

}  // namespace

void multiply(std::span<const Product> products, ThreadPool& pool, Arena& scratch) {
  const Block block = choose_block(products, pool.threads());
  std::vector<Task> tasks;
  for (const auto& p : products)
    for (int64_t row = 0; row < p.rows; row += block.rows)
      for (int64_t col = 0; col < p.cols; col += block.cols) tasks.push_back({&p, row, col, block});
  float* memory = scratch.floats(pool.threads() * workspace_floats());
  pool.parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i, int worker) {
    const Product& p = *tasks[i].product;
    if (is_stream(p)) return stream_product(p, tasks[i].col, std::min(tasks[i].col + block.cols, p.cols));
    run(tasks[i], Workspace(memory + worker * workspace_floats()));
  });
}

int64_t workspace_floats() { return Workspace::kLeft + Workspace::kRight; }

void multiply_alone(const Product& p, float* workspace) {
  for (int64_t col = 0; col < p.cols; col += kColBlock) run({&p, 0, col, {p.rows, kColBlock}}, Workspace(workspace));
}

}  // namespace bts::cpu::BTS_ISA
