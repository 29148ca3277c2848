#include <algorithm>
#include <cstring>
#include <type_traits>

#include "../quantized.h"
#include "pack_panels.h"

namespace bts::cpu::BTS_ISA {

namespace {

// Steps of two numbers, rounded to bf16.
template <class Reader>
struct RoundedPairs {
  using Step = Pair;
  Reader reader;
  int64_t depth_stride;

  vpair along(int64_t i) const {
    // What is bf16 already lies there in pairs.
    if constexpr (std::is_same_v<Reader, BF16>) return load(reinterpret_cast<const Pair*>(reader.p + i));
    else return narrow(reader.vector(i), reader.vector(i + kLanes));
  }
  vpair across(int64_t i) const { return interleave(narrow(reader.vector(i), reader.vector(i + depth_stride))); }
  Pair at(int64_t i) const { return narrow(reader.at(i), reader.at(i + depth_stride)); }
  Pair last(int64_t i) const { return narrow(reader.at(i), 0.0f); }
};

void round_row(Pair* to, const float* from, int64_t depth) {
  int64_t k = 0;
  for (; k + 2 * kLanes <= depth; k += 2 * kLanes) store(to + k / 2, narrow(load(from + k), load(from + k + kLanes)));
  if (k == depth) return;
  float rest[2 * kLanes] = {};
  std::copy(from + k, from + depth, rest);
  const vpair pairs = narrow(load(rest), load(rest + kLanes));
  std::memcpy(to + k / 2, &pairs, size_t(steps_of<Pair>(depth - k)) * sizeof(Pair));
}

}  // namespace

void pack_cols(Pair* packed, const Matrix& b, const Region& r) {
  with_matrix_reader(b.storage, [&](auto reader) {
    pack_panels(packed, RoundedPairs<decltype(reader)>{reader, b.row_stride}, b.col_stride, b.row_stride, r);
  });
}

void round_rows(Pair* rounded, int64_t stride, const Matrix& a, const Region& r) {
  const float* from = static_cast<const float*>(a.storage.data) + r.first * a.row_stride + r.first_depth;
  for (int64_t i = 0; i < r.count; i++) round_row(rounded + i * stride, from + i * a.row_stride, r.depth);
}

}  // namespace bts::cpu::BTS_ISA
