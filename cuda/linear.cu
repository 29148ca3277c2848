// Linear layers of all members in one launch.
#include <algorithm>
#include <vector>

#include "../native/runs.h"
#include "gemm/column_sums.h"
#include "gemm/gemm.cuh"
#include "gemm/gemv.h"
#include "gemm/low_rank.h"
#include "gemm/operands.h"
#include "members.cuh"

namespace bts::cuda::BTS_PRECISION {

// Rows that are computed alone are no exception: few of them take as long as one, so that steps have as many.
int64_t CudaOps::least_rows(bool) const { return kGemvRows + 1; }

namespace {

// Members that all read one matrix, and add nothing of their own, are one of more rows.
template <class Op>
Op joined(Op op, std::initializer_list<Weights> lists) {
  const auto members = std::ssize(op.weight);
  const auto adds = [](const LowRank& adapter) { return adapter.rank > 0; };
  if (members < 2 || runs(members, members, lists).size() > 1 || std::ranges::any_of(op.low_rank, adds)) return op;
  op.N *= members;
  op.weight.resize(1);
  op.low_rank.clear();
  return op;
}

}  // namespace

void CudaOps::run(const LinearForward& op) {
  context_.scratch().reset();
  if (op.N <= kGemvRows)
    return launch_gemv(context_, op.y, op.x, op.weight, op.bias, op.low_rank, op.residual, op.N, op.I, op.O);
  const auto& [x, weight, bias, low_rank, residual, y, N, I, O, _] = joined(op, {op.weight, op.bias});
  const auto added = adapters(context_, low_rank, N, I, O);
  launch_down(context_, added, x, N, I);
  const auto w = operands(context_, weight, O, I);
  for_members(w.size(), [&](int64_t first, int64_t count) {
    Gemm<act, act> gemm(N, O);
    for (int64_t m = first; m < first + count; m++) {
      auto& group = gemm.group(y + m * N * O);
      if (!bias.empty()) group.bias = bias[m];
      if (residual) group.residual = residual + m * N * O;
      gemm.add({x + m * N * I, I}, {w[m], I}, I);
      if (!added.empty()) gemm.add({added[m].rows, added[m].depth}, {added[m].up, added[m].depth}, added[m].depth);
    }
    launch_gemm<Depth::Inner, Depth::Inner>(context_, gemm);
  });
}

// forward: y = x (W + s B A)^T
void CudaOps::run(const LinearBackwardInput& op) {
  const auto& [dy, weight, low_rank, dx, N, I, O, accumulate] = joined(op, {op.weight});
  context_.scratch().reset();
  const auto added = adapters(context_, low_rank, N, I, O);
  launch_up_backward(context_, added, dy, N, O);
  const auto w = operands(context_, weight, O, I);
  for_members(w.size(), [&](int64_t first, int64_t count) {
    Gemm<act, act> gemm(N, I);
    for (int64_t m = first; m < first + count; m++) {
      act* const result = dx + m * N * I;
      accumulate ? gemm.accumulate(result) : gemm.group(result);
      gemm.add({dy + m * N * O, O}, {w[m], I}, O);
      if (!added.empty()) gemm.add({added[m].rows, added[m].depth}, {added[m].down, I}, added[m].depth);
    }
    launch_gemm<Depth::Inner, Depth::Outer>(context_, gemm);
  });
}

// forward: y = x W^T + bias
void CudaOps::run(const LinearBackwardWeight& op) {
  const auto& [dy, x, dweight, dbias, N, I, O] = op;
  for_members(dweight.size(), [&](int64_t first, int64_t count) {
    Gemm<act, float> gemm(O, I);
    for (int64_t m = first; m < first + count; m++) {
      gemm.accumulate(dweight[m]);
      gemm.add({dy + m * N * O, O}, {x + m * N * I, I}, N);
    }
    launch_gemm<Depth::Outer, Depth::Outer>(context_, gemm);
  });
  launch_column_sums(context_, dbias, dy, N, O, O, N * O);
}

}  // namespace bts::cuda::BTS_PRECISION
