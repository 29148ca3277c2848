#include "gemm.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "../chunks.h"
#include "gemm_blocks.h"
#include "gemv.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Tasks for each thread at least, where the result is large enough: one that ends late keeps nobody waiting for long.
constexpr int64_t kTasksPerThread = 4;

// A left operand that cannot be read as it lies is copied by tasks, block by block, where so few columns pass by.
constexpr int64_t kFewColumns = kLanes == 8 ? kNC : 2 * kNC;
// So many numbers of left operands are laid out anew at a time, 16 MiB; but always some rows.
constexpr int64_t kMostCopied = 4 << 20;
constexpr int64_t kLeastRows = 4 * kMC;

// Rows so far apart are an odd number of cache lines from one another, and share no sets of the first-level cache.
int64_t apart(int64_t numbers) { return round_up(numbers, 16) | 16; }

// A product as tasks take it: its left operand lies along the depth, and is rounded beside precision bf16.
struct Ready {
  Product product;
  DType precision;
};

// Rows that are cut into blocks: all that stream past weights do so together.
int64_t rows_to_cut(const Product& p) { return is_stream(p) ? 1 : p.rows; }

int64_t count_tasks(std::span<const Ready> products, Block block) {
  int64_t count = 0;
  for (const auto& [p, _] : products)
    count += ((rows_to_cut(p) + block.rows - 1) / block.rows) * ((p.cols + block.cols - 1) / block.cols);
  return count;
}

// Halves the longer side of the blocks, in whole tiles, until all threads have work.
Block choose_block(std::span<const Ready> products, int threads) {
  Block block{kMR, kNC};
  for (const auto& [p, _] : products) block.rows = std::max(block.rows, round_up(rows_to_cut(p), kMR));
  while (count_tasks(products, block) < kTasksPerThread * threads) {
    const int64_t row_tiles = block.rows / kMR, col_tiles = block.cols / kNR;
    if (row_tiles <= 2 && col_tiles <= 1) break;
    if (block.rows > block.cols || col_tiles == 1) block.rows = (row_tiles + 1) / 2 * kMR;
    else block.cols = (col_tiles + 1) / 2 * kNR;
  }
  return block;
}

void compute(const Task& task, DType precision, float* workspace) {
  if constexpr (kHasBf16)
    if (precision == DType::BF16) return run_bf16(task, workspace);
  run(task, Workspace<float>(workspace));
}

void compute_all(std::span<const Ready> products, ThreadPool& pool, float* workspaces) {
  const Block block = choose_block(products, pool.threads());
  std::vector<std::pair<Task, DType>> tasks;
  for (const auto& [p, precision] : products)
    for (int64_t row = 0; row < rows_to_cut(p); row += block.rows)
      for (int64_t col = 0; col < p.cols; col += block.cols) tasks.push_back({{&p, row, col, block}, precision});
  pool.parallel_for(std::ssize(tasks), [&](int64_t i, int worker) {
    const auto& [task, precision] = tasks[i];
    const Product& p = *task.product;
    if (is_stream(p)) return stream_product(p, task.col, std::min(task.col + block.cols, p.cols));
    compute(task, precision, workspaces + worker * workspace_floats());
  });
}

int64_t copy_floats(const Product& p, int64_t rows) { return round_up(rows, kMR) * apart(p.depth); }

// The left operand of a product copied once for all columns that pass by.
Matrix copied_left(float* copy, const Product& p, DType precision, ThreadPool& pool) {
  const int64_t stride = apart(p.depth);
  if (p.a.col_stride == 1) {
    for_chunks(pool, p.rows, p.depth, [&](int64_t begin, int64_t end) {
      const float* from = static_cast<const float*>(p.a.storage.data);
      for (int64_t i = begin; i < end; i++) std::copy_n(from + i * p.a.row_stride, p.depth, copy + i * stride);
    });
    return row_major(copy, stride);
  }
  for_chunks(pool, (p.rows + kLanes - 1) / kLanes, kLanes * p.depth, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * kLanes; row < std::min(end * kLanes, p.rows); row += kLanes) {
      const int64_t count = std::min<int64_t>(kLanes, p.rows - row);
      copy_along(copy + row * stride, stride, p.a, {row, count, 0, p.depth});
      if constexpr (kHasBf16)
        if (precision == DType::BF16)  // in place: a pair takes half the room of its numbers
          round_rows(reinterpret_cast<Pair*>(copy) + row * stride, stride, row_major(copy, stride),
                     {row, count, 0, p.depth});
    }
  });
  if (precision == DType::BF16) return {{copy, DType::BF16}, stride * kNumbersPerStep<Pair>, 1};
  return row_major(copy, stride);
}

// Some rows of a product whose left operand is copied.
Product rows_of(const Product& p, int64_t first, int64_t count) {
  Product part = p;
  part.a.storage.data = static_cast<const float*>(p.a.storage.data) + first * p.a.row_stride;
  part.c += first * p.c_stride;
  if (p.residual) part.residual += first * p.c_stride;
  part.rows = count;
  return part;
}

}  // namespace

Matrix rounded_left(const Product& p, DType precision, ThreadPool& pool, Arena& scratch) {
  if constexpr (kHasBf16)
    if (precision == DType::BF16 && !is_stream(p)) {
      const int64_t stride = apart(steps_of<Pair>(p.depth));
      auto* rounded = reinterpret_cast<Pair*>(scratch.floats(round_up(p.rows, kMR) * stride));
      for_chunks(pool, p.rows, p.depth, [&](int64_t begin, int64_t end) {
        round_rows(rounded + begin * stride, stride, p.a, {begin, end - begin, 0, p.depth});
      });
      return {{rounded, DType::BF16}, stride * kNumbersPerStep<Pair>, 1};
    }
  return p.a;
}

void multiply(std::span<const Product> products, DType precision, ThreadPool& pool, Arena& scratch) {
  const auto own_precision = [&](const Product& p) {
    return is_stream(p) || p.rows <= kStreamRows ? DType::F32 : precision;
  };
  const auto is_copied = [&](const Product& p) {
    const bool rounded = own_precision(p) == DType::BF16, few = p.cols <= kFewColumns;
    if (p.a.col_stride != 1) return rounded || !few;
    return !rounded && !few && !is_stream(p) && conflicts(p.a.row_stride);
  };
  float* workspaces = scratch.floats(pool.threads() * workspace_floats());
  int64_t all = 0, least = 0;
  for (const Product& p : products)
    if (is_copied(p)) {
      all += copy_floats(p, p.rows);
      least = std::max(least, copy_floats(p, kLeastRows));
    }
  const int64_t room = std::min(all, std::max(least, kMostCopied));
  float* copies = scratch.floats(room);
  int64_t used = 0;
  std::vector<Ready> ready;
  for (const Product& p : products) {
    const DType own = own_precision(p);
    if (!is_copied(p)) {
      ready.push_back({p, own});
      ready.back().product.a = rounded_left(p, own, pool, scratch);
      continue;
    }
    for (int64_t row = 0; row < p.rows;) {
      const int64_t rows = std::min(p.rows - row, (room - used) / copy_floats(p, 1) * kMR);
      if (rows == 0) {
        compute_all(ready, pool, workspaces);
        ready.clear();
        used = 0;
        continue;
      }
      ready.push_back({rows_of(p, row, rows), own});
      ready.back().product.a = copied_left(copies + used, ready.back().product, own, pool);
      used += copy_floats(p, rows);
      row += rows;
    }
  }
  compute_all(ready, pool, workspaces);
}

int64_t workspace_floats() { return Workspace<float>::kLeft + Workspace<float>::kRight; }

void multiply_alone(const Product& p, DType precision, float* workspace) {
  for (int64_t col = 0; col < p.cols; col += kNC) compute({&p, 0, col, {p.rows, kNC}}, precision, workspace);
}

}  // namespace bts::cpu::BTS_ISA
