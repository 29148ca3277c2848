#include "gemm.h"

#include <algorithm>
#include <vector>

#include "../chunks.h"
#include "gemm_blocks.h"
#include "gemv.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Tasks for each thread at least, where the result is large enough: one that ends late keeps nobody waiting for long.
constexpr int64_t kTasksPerThread = 4;

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

void compute(const Task& task, DType precision, float* workspace) {
  if constexpr (kLanes == 16)
    if (precision == DType::BF16) return run_bf16(task, workspace);
  run(task, Workspace<float>(workspace));
}

}  // namespace

Matrix rounded_left(const Product& p, DType precision, ThreadPool& pool, Arena& scratch) {
  if constexpr (kLanes == 16)
    if (precision == DType::BF16 && p.a.col_stride == 1 && !is_stream(p)) {
      // An odd number of cache lines: no rows share sets of the first-level cache.
      const int64_t stride = round_up(steps_of<Pair>(p.depth), kLanes) | kLanes;
      auto* rounded = reinterpret_cast<Pair*>(scratch.floats(round_up(p.rows, kTileRows) * stride));
      for_chunks(pool, p.rows, p.depth, [&](int64_t begin, int64_t end) {
        round_rows(rounded + begin * stride, stride, p.a, {begin, end - begin, 0, p.depth});
      });
      return {{rounded, DType::BF16}, stride * kNumbersPerStep<Pair>, 1};
    }
  return p.a;
}

void multiply(std::span<const Product> given, DType precision, ThreadPool& pool, Arena& scratch) {
  std::vector<Product> products(given.begin(), given.end());
  const auto precision_of = [&](const Product& p) { return p.rows > kStreamRows ? precision : DType::F32; };
  for (auto& p : products) p.a = rounded_left(p, precision_of(p), pool, scratch);
  const Block block = choose_block(products, pool.threads());
  std::vector<Task> tasks;
  for (const auto& p : products)
    for (int64_t row = 0; row < p.rows; row += block.rows)
      for (int64_t col = 0; col < p.cols; col += block.cols) tasks.push_back({&p, row, col, block});
  float* memory = scratch.floats(pool.threads() * workspace_floats());
  pool.parallel_for(static_cast<int64_t>(tasks.size()), [&](int64_t i, int worker) {
    const Product& p = *tasks[i].product;
    if (is_stream(p)) return stream_product(p, tasks[i].col, std::min(tasks[i].col + block.cols, p.cols));
    compute(tasks[i], precision_of(p), memory + worker * workspace_floats());
  });
}

int64_t workspace_floats() { return Workspace<float>::kLeft + Workspace<float>::kRight; }

void multiply_alone(const Product& p, DType precision, float* workspace) {
  for (int64_t col = 0; col < p.cols; col += kColBlock)
    compute({&p, 0, col, {p.rows, kColBlock}}, precision, workspace);
}

}  // namespace bts::cpu::BTS_ISA
