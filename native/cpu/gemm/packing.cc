#include <algorithm>

#include "../quantized.h"
#include "pack_panels.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Steps of one number, widened to f32.
template <class Reader>
struct Numbers {
  using Step = float;
  Reader reader;

  vfloat along(int64_t i) const { return reader.vector(i); }
  vfloat across(int64_t i) const { return reader.vector(i); }
  float at(int64_t i) const { return reader.at(i); }
  float last(int64_t i) const { return reader.at(i); }
  void fetch(int64_t i) const {
    if constexpr (requires { reader.p; }) __builtin_prefetch(reader.p + i);
  }
};

}  // namespace

void pack_cols(float* packed, const Matrix& b, const Region& r) {
  with_matrix_reader(b.storage, [&](auto reader) {
    pack_panels(packed, Numbers<decltype(reader)>{reader}, b.col_stride, b.row_stride, r);
  });
}

void copy_along(float* copy, int64_t stride, const Matrix& a, const Region& r) {
  const float* from = static_cast<const float*>(a.storage.data) + r.first + r.first_depth * a.col_stride;
  if (r.count < kLanes || r.depth < kLanes) {
    for (int64_t k = 0; k < r.depth; k++)
      for (int64_t i = 0; i < r.count; i++) copy[i * stride + k] = from[k * a.col_stride + i];
    return;
  }
  // Along what lies side by side, so that lines are used up while they are near. The last squares overlap those before them.
  for (int64_t step = 0; step < r.depth; step += kLanes)
    for (int64_t row = 0; row < r.count; row += kLanes) {
      const int64_t i0 = std::min(row, r.count - kLanes), k0 = std::min(step, r.depth - kLanes);
      vfloat square[kLanes];
#pragma GCC unroll 16
      for (int k = 0; k < kLanes; k++) square[k] = load(from + (k0 + k) * a.col_stride + i0);
      transpose(square);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) store(copy + (i0 + i) * stride + k0, square[i]);
    }
}

void copy_rows(float* copy, int64_t stride, const Matrix& a, const Region& r) {
  const float* from = static_cast<const float*>(a.storage.data) + r.first * a.row_stride + r.first_depth;
  for (int64_t i = 0; i < r.count; i++) std::copy_n(from + i * a.row_stride, r.depth, copy + i * stride);
  for (int64_t i = r.count; i < round_up(r.count, kMR); i++) std::fill_n(copy + i * stride, r.depth, 0.0f);
}

}  // namespace bts::cpu::BTS_ISA
