#include "quantized.h"

#include <algorithm>
#include <atomic>
#include <cfloat>
#include <cmath>
#include <string>

#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

// To the nearest whole number, ties to even, of less than 2^22: the last bit of a number near 1.5 * 2^23 counts ones.
vfloat nearest(vfloat x) {
  constexpr float kOnes = 0x1.8p23f;
  return (x + kOnes) - kOnes;
}

vfloat min(vfloat a, vfloat b) { return a < b ? a : b; }

struct Range {
  float least, most;
};

Range range_of(const float* x, int64_t count) {
  vfloat least = splat(x[0]), most = least;
  for_vectors(0, count, [&](int64_t k, auto lanes) {
    least = min(least, lanes.load(x, k, x[0]));
    most = max(most, lanes.load(x, k, x[0]));
  });
  return {-reduce_max(-least), reduce_max(most)};
}

// The codes of x by a scale, and the sum of squared differences.
float encode(Int8Group& group, float scale, const float* x, int64_t count) {
  group = {.scale = scale, .codes = {}};
  const float inverse = scale >= FLT_MIN ? 1 / scale : 0;
  vfloat squares{};
  for_vectors(0, count, [&](int64_t k, auto lanes) {
    const vfloat all = lanes.load(x, k), codes = nearest(max(min(all * inverse, splat(127)), splat(-127)));
    const vfloat difference = all - codes * scale;
    squares += difference * difference;
    for (int64_t i = 0; i < std::min<int64_t>(kLanes, count - k); i++) group.codes[k + i] = int8_t(codes[i]);
  });
  return reduce_add(squares);
}

// The largest number gets the largest code; but whole numbers times a power of two stay what they are.
void quantize(Int8Group& group, const float* x, int64_t count) {
  const auto [least, most] = range_of(x, count);
  const float scale = std::max(-least, most) / 127;
  const float error = encode(group, scale, x, count);
  Int8Group other;
  int exponent;
  if (std::frexp(scale, &exponent) == 0 || error == 0) return;
  if (encode(other, std::ldexp(1.0f, exponent), x, count) < error) group = other;
}

// What codes give by a scale and an offset, and the scale and the offset that suit these codes best.
struct Fit {
  float scale, offset, error;
  float next_scale, next_offset;
};

vfloat codes_of(vfloat x, float scale, float offset) {
  const float inverse = scale >= FLT_MIN ? 1 / scale : 0;
  return nearest(max(min((x - offset) * inverse, splat(15)), splat(0)));
}

Fit fit(float scale, float offset, const float* x, int64_t count) {
  vfloat squares{}, codes{}, codes_squared{}, sum{}, products{};
  for_vectors(0, count, [&](int64_t k, auto lanes) {
    // Lanes behind the end get code 0, and add nothing.
    const vfloat all = lanes.load(x, k, offset), q = codes_of(all, scale, offset);
    const vfloat difference = all - (q * scale + offset);
    squares += difference * difference;
    codes += q;
    codes_squared += q * q;
    sum += lanes.load(x, k);
    products += all * q;
  });
  const float n = float(count), Q = reduce_add(codes), QQ = reduce_add(codes_squared), X = reduce_add(sum),
              XQ = reduce_add(products), determinant = n * QQ - Q * Q;
  Fit result{scale, offset, reduce_add(squares), scale, offset};
  if (determinant > 0) {
    result.next_scale = (n * XQ - Q * X) / determinant;
    result.next_offset = (X - Q * result.next_scale) / n;
  }
  return result;
}

// Shares of the range to begin with: what is left out at its ends makes all others more precise. Then codes and scale are fitted
// to one another in turns.
constexpr float kShares[] = {0.6f, 0.7f, 0.8f, 0.9f, 1};
constexpr int kTurns = 6;

void quantize(Int4Group& group, const float* x, int64_t count) {
  const auto [least, most] = range_of(x, count);
  Fit best{0, least / 2 + most / 2, INFINITY, 0, 0};
  for (const float share : kShares) {
    float scale = (most / 15 - least / 15) * share, offset = least / 2 + most / 2 - 7.5f * scale;
    for (int turn = 0; turn < kTurns && scale >= FLT_MIN; turn++) {
      const Fit now = fit(scale, offset, x, count);
      if (now.error < best.error) best = now;
      if (now.next_scale == scale && now.next_offset == offset) break;
      scale = now.next_scale;
      offset = now.next_offset;
    }
  }
  group = {.scale = best.scale, .offset = best.offset, .codes = {}};
  for_vectors(0, count, [&](int64_t k, auto lanes) {
    const vfloat codes = codes_of(lanes.load(x, k, best.offset), best.scale, best.offset);
    for (int64_t i = 0; i < std::min<int64_t>(kLanes, count - k); i++) {
      constexpr int64_t kHalf = Int4Group::kNumbers / 2;
      const int64_t at = k + i;
      group.codes[at % kHalf] |= uint8_t(codes[i]) << (at < kHalf ? 0 : 4);
    }
  });
}

void shift(Int8Group& group, int exponent) { group.scale = std::ldexp(group.scale, exponent); }
void shift(Int4Group& group, int exponent) {
  group.scale = std::ldexp(group.scale, exponent);
  group.offset = std::ldexp(group.offset, exponent);
}

// Quantizes x as if its largest number were near 1, where squares of differences neither vanish nor overflow.
template <class Group>
void quantize_near_one(Group& group, float* x, int64_t count) {
  const auto [least, most] = range_of(x, count);
  int exponent;
  std::frexp(std::max(-least, most), &exponent);
  exponent = std::clamp(exponent, -126, 126);
  const float factor = std::ldexp(1.0f, -exponent);
  for (int64_t k = 0; k < count; k++) x[k] *= factor;
  quantize(group, x, count);
  shift(group, exponent);
}

// The first number that is not finite, or -1.
int64_t first_wrong(const float* x, int64_t count) {
  for (int64_t i = 0; i < count; i++)
    if (!std::isfinite(x[i])) return i;
  return -1;
}

template <class Group>
void quantize_rows(const bts::Quantize<float>& op, ThreadPool& pool) {
  const auto& [x, y, to, O, I] = op;
  const int64_t groups = row_stride(to, I) / Group::kNumbers;
  std::atomic<int64_t> wrong = O * I;
  with_reader(x, [&, I = I](auto reader) {
    for_chunks(pool, O, I, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++)
        for (int64_t g = 0; g < groups; g++) {
          float wide[Group::kNumbers];
          const int64_t first = g * Group::kNumbers, count = std::min(Group::kNumbers, I - first);
          for_vectors(0, count, [&](int64_t k, auto lanes) {
            lanes.store(wide, k, lanes.read(reader.from(row * I + first), k));
          });
          const int64_t bad = first_wrong(wide, count);
          if (bad < 0) {
            quantize_near_one(static_cast<Group*>(y)[row * groups + g], wide, count);
            continue;
          }
          int64_t at = row * I + first + bad, known = wrong;
          while (at < known && !wrong.compare_exchange_weak(known, at)) {
          }
        }
    });
  });
  if (wrong < O * I)
    throw Error("BAD_CHECKPOINT", "the number at [" + std::to_string(wrong / I) + ", " + std::to_string(wrong % I) +
                                      "] is not finite, and has no place among the codes of " + name_of(to));
}

}  // namespace

void CpuOps::run(const Quantize& op) {
  if (op.to == DType::Int8) quantize_rows<Int8Group>(op, pool_);
  else quantize_rows<Int4Group>(op, pool_);
}

void CpuOps::run(const Dequantize& op) {
  const auto& [x, y, O, I] = op;
  const int64_t stride = row_stride(x.dtype, I);
  with_matrix_reader(x, [&, I = I, y = y](auto reader) {
    for_chunks(pool_, O, I, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; row++)
        for_vectors(0, I,
                    [&](int64_t i, auto lanes) { lanes.store(y + row * I, i, lanes.read(reader, row * stride + i)); });
    });
  });
}

}  // namespace bts::cpu::BTS_ISA
