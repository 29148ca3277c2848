#include "gemv.h"

#include <algorithm>

#include "../quantized.h"

namespace bts::cpu::BTS_ISA {

namespace {

// A tile of the result stays in registers, of this size at most. A higher one widens fewer numbers, which takes as long as to
// multiply them; what widens quantized ones needs the registers itself. Every element is summed over the depth lane by lane, and
// its lanes at the end, whatever the tile that it is in.
template <class Reader>
constexpr int kTileRows = kLanes == 16 && !is_grouped<Reader> ? 8 : 4;
template <class Reader>
constexpr int kTileCols = kLanes == 16 && is_grouped<Reader> ? 6 : 3;

template <int rows, int cols>
using Sums = vfloat[rows * cols];

// Brings what the next columns take closer while these ones are multiplied: a part with each vector of the depth, or the requests
// would wait for each other.
struct Ahead {
  const char* next;
  int64_t step;

  void fetch() {
    __builtin_prefetch(next, 0, 2);
    if constexpr (kLanes == 16) __builtin_prefetch(next + step / 2, 0, 2);  // a step is up to two lines
    next += step;
  }
};

// sums [rows, cols] += over k of a[i, k] right[j, k], where right[j] reads column j
template <int rows, int cols, class Reader>
inline void add_products(Sums<rows, cols>& sums, const float* a, int64_t a_stride, const Reader (&right)[cols],
                         int64_t depth, Ahead& ahead) {
  for_vectors(0, depth, [&](int64_t k, auto lanes) __attribute__((always_inline)) {
    ahead.fetch();
    vfloat w[cols];
#pragma GCC unroll 6
    for (int j = 0; j < cols; j++) w[j] = lanes.read(right[j], k);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
      vfloat x = lanes.load(a + i * a_stride, k);
#if BTS_LANES == 16
      asm("" : "+v"(x));  // in a register: g++ 12 loads it anew for each column
#endif
#pragma GCC unroll 6
      for (int j = 0; j < cols; j++) sums[i * cols + j] += w[j] * x;
    }
  });
}

// The same over `right`, whose columns lie `stride` apart.
template <int rows, int cols, class Reader>
inline void add_columns(Sums<rows, cols>& sums, const float* a, int64_t a_stride, Reader right, int64_t stride,
                        int64_t depth, Ahead& ahead) {
  if constexpr (is_grouped<Reader>) {
    const auto add = [&](int64_t k, int64_t count) __attribute__((always_inline)) {
      NumbersOf<Reader> numbers[cols];
#pragma GCC unroll 6
      for (int j = 0; j < cols; j++) numbers[j] = right.group(j * stride + k);
      add_products<rows, cols>(sums, a + k, a_stride, numbers, count, ahead);
    };
    int64_t k = 0;
    for (; k + Reader::kGroup <= depth; k += Reader::kGroup) add(k, Reader::kGroup);
    if (k < depth) add(k, depth - k);
  } else {
    Reader readers[cols];
#pragma GCC unroll 6
    for (int j = 0; j < cols; j++) readers[j] = right.from(j * stride);
    add_products<rows, cols>(sums, a, a_stride, readers, depth, ahead);
  }
}

template <int rows, int cols>
inline void finish(const Product& p, const Sums<rows, cols>& sums, int64_t i0, int64_t j0) {
  float added[cols] = {};
  if (p.bias)
    with_reader(*p.bias, [&](auto bias) {
      for (int j = 0; j < cols; j++) added[j] = bias.at(j0 + j);
    });
  const float* more = p.accumulate ? p.c : p.residual;
  float* c = p.c + i0 * p.c_stride + j0;
  if (more) {
    more += i0 * p.c_stride + j0;
#pragma GCC unroll 24
    for (int s = 0; s < rows * cols; s++) {
      const int64_t at = s / cols * p.c_stride + s % cols;
      c[at] = reduce_add(sums[s]) + more[at] + added[s % cols];
    }
  } else {
#pragma GCC unroll 24
    for (int s = 0; s < rows * cols; s++) c[s / cols * p.c_stride + s % cols] = reduce_add(sums[s]) + added[s % cols];
  }
}

inline const float* row(const Product& p, int64_t i) {
  return static_cast<const float*>(p.a.storage.data) + i * p.a.row_stride;
}

// Calls f(integral_constant<int, n>) for n <= most.
template <int most, class F>
inline void with_count(int64_t n, F&& f) {
  if constexpr (most > 0) {
    if (n == most) f(std::integral_constant<int, most>());
    else with_count<most - 1>(n, f);
  }
}

// The columns from j0 on for all rows: their weights are read from memory once, and then from a cache.
template <int cols, class Reader>
void columns(const Product& p, Reader weights, int64_t j0) {
  constexpr int kMost = kTileRows<Reader>;
  const int64_t tiles = (p.rows + kMost - 1) / kMost, height = (p.rows + tiles - 1) / tiles;
  const int64_t steps = tiles * ((p.depth + kLanes - 1) / kLanes), stride = p.b.col_stride;
  Ahead ahead{reinterpret_cast<const char*>(weights.from((j0 + cols) * stride).p),
              (Reader::bytes(cols * stride) + steps - 1) / std::max<int64_t>(steps, 1)};
  for (int64_t i = 0; i < p.rows; i += height)
    with_count<kMost>(std::min(height, p.rows - i), [&](auto rows) {
      Sums<rows, cols> sums = {};
      add_columns<rows, cols>(sums, row(p, i), p.a.row_stride, weights.from(j0 * stride), stride, p.depth, ahead);
      finish<rows, cols>(p, sums, i, j0);
    });
}

}  // namespace

bool is_stream(const Product& p) {
  return (p.alone || p.rows <= kStreamRows) && p.a.col_stride == 1 && p.b.row_stride == 1;
}

void stream_product(const Product& p, int64_t first, int64_t last) {
  if (p.rows == 0) return;
  with_matrix_reader(p.b.storage, [&](auto weights) {
    constexpr int kMost = kTileCols<decltype(weights)>;
    int64_t j = first;
    // Few rows wait for memory, which brings two streams sooner than many side by side.
    if (p.rows > kStreamRows)
      for (; j + kMost <= last; j += kMost) columns<kMost>(p, weights, j);
    for (; j + 2 <= last; j += 2) columns<2>(p, weights, j);
    for (; j < last; j++) columns<1>(p, weights, j);
  });
}

}  // namespace bts::cpu::BTS_ISA
