#include "gemv.h"

#include <algorithm>

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kMostRows = 4;

// c[i, j] = sum over k of a[i, k] b[j, k] for all rows and the columns first..last, both operands contiguous in k.
template <int rows, class Reader>
void dot_rows(const Product& p, Reader weights, int64_t first, int64_t last) {
  const float* a = static_cast<const float*>(p.a.storage.data);
  for (int64_t j = first; j < last; j += 4) {
    const int64_t width = std::min<int64_t>(4, last - j);
    vfloat acc[rows][4] = {};
    float tail[rows][4] = {};
    const int64_t origin = j * p.b.col_stride;
    int64_t k = 0;
    if (width == 4) {
      for (; k + kLanes <= p.depth; k += kLanes)
        for (int q = 0; q < 4; q++) {
          const vfloat w = weights.vector(origin + q * p.b.col_stride + k);
          for (int i = 0; i < rows; i++) acc[i][q] += w * load(a + i * p.a.row_stride + k);
        }
    } else {
      for (; k + kLanes <= p.depth; k += kLanes)
        for (int64_t q = 0; q < width; q++) {
          const vfloat w = weights.vector(origin + q * p.b.col_stride + k);
          for (int i = 0; i < rows; i++) acc[i][q] += w * load(a + i * p.a.row_stride + k);
        }
    }
    for (; k < p.depth; k++)
      for (int64_t q = 0; q < width; q++) {
        const float w = weights.at(origin + q * p.b.col_stride + k);
        for (int i = 0; i < rows; i++) tail[i][q] += w * a[i * p.a.row_stride + k];
      }
    for (int i = 0; i < rows; i++)
      for (int64_t q = 0; q < width; q++) {
        const int64_t at = i * p.c_stride + j + q;
        float sum = reduce_add(acc[i][q]) + tail[i][q];
        if (p.accumulate) sum += p.c[at];
        if (p.residual) sum += p.residual[at];
        if (p.bias) with_reader(*p.bias, [&](auto bias) { sum += bias.at(j + q); });
        p.c[at] = sum;
      }
  }
}

}  // namespace

bool is_stream(const Product& p) {
  return p.rows <= kMostRows && p.a.col_stride == 1 && p.b.row_stride == 1;
}

void stream_product(const Product& p, int64_t first, int64_t last) {
  with_reader(p.b.storage, [&](auto weights) {
    switch (p.rows) {
      case 1: return dot_rows<1>(p, weights, first, last);
      case 2: return dot_rows<2>(p, weights, first, last);
      case 3: return dot_rows<3>(p, weights, first, last);
      default: return dot_rows<4>(p, weights, first, last);
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
