#include <span>
#include <vector>

#include "../quantized.h"
#include "../runs.h"
#include "chunks.h"
#include "cpu_ops.h"
#include "gemm/gemm.h"
#include "gemm/gemv.h"

namespace bts::cpu::BTS_ISA {

int64_t CpuOps::least_rows(bool alone) const { return alone ? 1 : kStreamRows + 1; }

namespace {

// Rows of a member between the two products of what its adapter adds, [N,rank], and that adapter.
struct Inner {
  int64_t member;
  const LowRank* adapter;
  float* rows;
};

std::vector<Inner> inner_rows(LowRanks adapters, int64_t N, Arena& scratch) {
  std::vector<Inner> all;
  for (int64_t m = 0; m < std::ssize(adapters); m++)
    if (adapters[m].rank > 0) all.push_back({m, &adapters[m], scratch.floats(N * adapters[m].rank)});
  return all;
}

void scale_rows(std::span<const Inner> all, int64_t N, ThreadPool& pool) {
  for (const auto& [_, adapter, rows] : all)
    for_elements(pool, N * adapter->rank, [rows, scale = adapter->scale](int64_t i, auto lanes) {
      lanes.store(rows, i, scale * lanes.load(rows, i));
    });
}

}  // namespace

void CpuOps::run(const LinearForward& op) {
  const auto& [x, weight, bias, low_rank, residual, y, N, I, O, alone] = op;
  scratch_.reset();
  // Rows of a member decide how all are summed, and not how many pass by together.
  const bool streams = alone || N <= kStreamRows;
  const int64_t members = std::ssize(weight);
  std::vector<Product> products;
  for (const auto [m, count] : runs(members, members, {weight, bias}))
    products.push_back({.a = row_major(x + m * N * I, I),
                        .b = {weight[m], 1, row_stride(weight[m].dtype, I)},
                        .c = y + m * N * O,
                        .c_stride = O,
                        .rows = count * N,
                        .cols = O,
                        .depth = I,
                        .bias = bias.empty() ? nullptr : &bias[m],
                        .residual = residual ? residual + m * N * O : nullptr,
                        .alone = streams});
  const auto inner = inner_rows(low_rank, N, scratch_);
  for (const auto& [m, adapter, rows] : inner)
    products.push_back({.a = row_major(x + m * N * I, I),
                        .b = {adapter->down, 1, I},
                        .c = rows,
                        .c_stride = adapter->rank,
                        .rows = N,
                        .cols = adapter->rank,
                        .depth = I,
                        .alone = streams});
  multiply(products, precision_, pool_, scratch_);
  if (inner.empty()) return;
  scale_rows(inner, N, pool_);
  products.clear();
  for (const auto& [m, adapter, rows] : inner)
    products.push_back({.a = row_major(rows, adapter->rank),
                        .b = {adapter->up, 1, adapter->rank},
                        .c = y + m * N * O,
                        .c_stride = O,
                        .rows = N,
                        .cols = O,
                        .depth = adapter->rank,
                        .accumulate = true,
                        .alone = streams});
  multiply(products, precision_, pool_, scratch_);
}

// forward: y = x (W + s B A)^T
void CpuOps::run(const LinearBackwardInput& op) {
  const auto& [dy, weight, low_rank, dx, N, I, O, accumulate] = op;
  scratch_.reset();
  const int64_t members = std::ssize(weight);
  std::vector<Product> products;
  // Few rows are multiplied in f32, which many are not beside precision bf16: they stay few.
  for (const auto [m, count] : runs(members, N <= kStreamRows ? 1 : members, {weight}))
    products.push_back({.a = row_major(dy + m * N * O, O),
                        .b = {weight[m], row_stride(weight[m].dtype, I), 1},
                        .c = dx + m * N * I,
                        .c_stride = I,
                        .rows = count * N,
                        .cols = I,
                        .depth = O,
                        .accumulate = accumulate});
  const auto inner = inner_rows(low_rank, N, scratch_);
  for (const auto& [m, adapter, rows] : inner)
    products.push_back({.a = row_major(dy + m * N * O, O),
                        .b = {adapter->up, adapter->rank, 1},
                        .c = rows,
                        .c_stride = adapter->rank,
                        .rows = N,
                        .cols = adapter->rank,
                        .depth = O});
  multiply(products, precision_, pool_, scratch_);
  if (inner.empty()) return;
  scale_rows(inner, N, pool_);
  products.clear();
  for (const auto& [m, adapter, rows] : inner)
    products.push_back({.a = row_major(rows, adapter->rank),
                        .b = {adapter->down, I, 1},
                        .c = dx + m * N * I,
                        .c_stride = I,
                        .rows = N,
                        .cols = I,
                        .depth = adapter->rank,
                        .accumulate = true});
  multiply(products, precision_, pool_, scratch_);
}

// forward: y = x W^T + bias
void CpuOps::run(const LinearBackwardWeight& op) {
  const auto& [dy, x, dweight, dbias, N, I, O] = op;
  scratch_.reset();
  std::vector<Product> products;
  for (size_t m = 0; m < dweight.size(); m++)
    products.push_back({.a = transposed(dy + m * N * O, O),
                        .b = row_major(x + m * N * I, I),
                        .c = dweight[m],
                        .c_stride = I,
                        .rows = O,
                        .cols = I,
                        .depth = N,
                        .accumulate = true});
  multiply(products, precision_, pool_, scratch_);
  for (size_t m = 0; m < dbias.size(); m++) {
    const float* rows = dy + m * N * O;
    for (int64_t n = 0; n < N; n++)
      for (int64_t o = 0; o < O; o++) dbias[m][o] += rows[n * O + o];
  }
}

}  // namespace bts::cpu::BTS_ISA
