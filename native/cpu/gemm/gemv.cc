#include "gemv.h"

#include <algorithm>

namespace bts::cpu::BTS_ISA {

namespace {

// c[i, j] = sum over k of a[i, k] b[j, k] for all rows, both operands contiguous in k. One column after the other, so that
// the weights are a single stream through memory; `chains` sums side by side hide the latency of an addition.
template <int rows, int chains, class Reader>
void dot_column(const Product& p, Reader weights, int64_t j) {
  const float* a = static_cast<const float*>(p.a.storage.data);
  const int64_t origin = j * p.b.col_stride;
  vfloat acc[rows][chains] = {};
  const auto add = [&](int64_t k, int chain, auto lanes) {
    const vfloat w = lanes.read(weights, origin + k);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) acc[i][chain] += w * lanes.load(a + i * p.a.row_stride, k);
  };
  int64_t k = 0;
  for (; k + chains * kLanes <= p.depth; k += chains * kLanes) {
#pragma GCC unroll 4
    for (int chain = 0; chain < chains; chain++) add(k + chain * kLanes, chain, Whole{});
  }
  for_vectors(k, p.depth, [&](int64_t k, auto lanes) { add(k, 0, lanes); });
#pragma GCC unroll 4
  for (int i = 0; i < rows; i++) {
    const int64_t at = i * p.c_stride + j;
    for (int chain = 1; chain < chains; chain++) acc[i][0] += acc[i][chain];
    float sum = reduce_add(acc[i][0]);
    if (p.accumulate) sum += p.c[at];
    if (p.residual) sum += p.residual[at];
    if (p.bias) with_reader(*p.bias, [&](auto bias) { sum += bias.at(j); });
    p.c[at] = sum;
  }
}

template <int rows, class Reader>
void dot_columns(const Product& p, Reader weights, int64_t first, int64_t last) {
  for (int64_t j = first; j < last; j++) dot_column<rows, rows <= 2 ? 4 : 2>(p, weights, j);
}

}  // namespace

bool is_stream(const Product& p) { return p.rows <= kStreamRows && p.a.col_stride == 1 && p.b.row_stride == 1; }

void stream_product(const Product& p, int64_t first, int64_t last) {
  with_reader(p.b.storage, [&](auto weights) {
    switch (p.rows) {
      case 1: return dot_columns<1>(p, weights, first, last);
      case 2: return dot_columns<2>(p, weights, first, last);
      case 3: return dot_columns<3>(p, weights, first, last);
      default: return dot_columns<4>(p, weights, first, last);
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
