#include <algorithm>
#include <cstring>

#include "../error.h"
#include "activations.h"
#include "chunks.h"
#include "cpu_ops.h"

namespace bts::cpu::BTS_ISA {

namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

// Both round to nearest, ties to even; a NaN stays one (made quiet).
uint16_t narrow_bf16(float x) {
  const uint32_t bits = bits_of(x);
  if (x != x) return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t narrow_f16(float x) {
  const uint32_t bits = bits_of(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (x != x) return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= bits_of(65520.0f)) return uint16_t(sign | 0x7c00);  // rounds to infinity
  if (magnitude < bits_of(0x1p-14f)) {
    // Subnormal, a multiple of 2^-24: the last bit of 0.5f counts just these, so the addition rounds.
    return uint16_t(sign | (bits_of(__builtin_fabsf(x) + 0.5f) - bits_of(0.5f)));
  }
  return uint16_t(sign | (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

}  // namespace

void CpuOps::fill(float* y, float value, int64_t n) {
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) { std::fill(y + begin, y + end, value); });
}

void CpuOps::add(float* y, const float* a, const float* b, int64_t n) {
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) { lanes.store(y, i, lanes.load(a, i) + lanes.load(b, i)); });
  });
}

void CpuOps::softcap(float* y, const float* x, float cap, int64_t n) {
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    for_vectors(begin, end, [&](int64_t i, auto lanes) { lanes.store(y, i, cap * tanh(lanes.load(x, i) / cap)); });
  });
}

void CpuOps::convert(void* y, DType to, const void* x, DType from, int64_t n) {
  if (to == from) {
    const auto* bytes = static_cast<const uint8_t*>(x);
    std::copy_n(bytes, n * int64_t(size_of(to)), static_cast<uint8_t*>(y));
    return;
  }
  if (to == DType::I32 || from == DType::I32) {
    throw Error("BAD_SHAPE", "convert: i32 can be converted to i32 alone, and f32, f16 and bf16 to each other");
  }
  with_reader({x, from}, [&](auto source) {
    for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
      auto* wide = static_cast<float*>(y);
      auto* half = static_cast<uint16_t*>(y);
      if (to == DType::F32)
        for_vectors(begin, end, [&](int64_t i, auto lanes) { lanes.store(wide, i, lanes.read(source, i)); });
      else if (to == DType::BF16)
        for (int64_t i = begin; i < end; i++) half[i] = narrow_bf16(source.at(i));
      else
        for (int64_t i = begin; i < end; i++) half[i] = narrow_f16(source.at(i));
    });
  });
}

void CpuOps::gather_rows(float* y, const float* x, const int32_t* rows, int64_t R, int64_t, int64_t C) {
  for_chunks(pool_, R, C, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) std::copy_n(x + rows[r] * C, C, y + r * C);
  });
}

void CpuOps::cache_append(float* cache, const float* x, const int32_t* starts, const Attention& size) {
  const int64_t B = size.B, T = size.T, S = size.S, width = size.K * size.D;
  for_chunks(pool_, size.M * B * T, width, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; row++) {
      const int64_t sequence = row / T, slot = sequence * S + (starts ? starts[sequence % B] : 0) + row % T;
      std::copy_n(x + row * width, width, cache + slot * width);
    }
  });
}

void CpuOps::sum_forward(float* y, const float* x, float scale, int64_t n) {
  scratch_.reset();
  const int64_t chunks = (n + kChunk - 1) / kChunk;
  auto* partial = reinterpret_cast<double*>(scratch_.floats(2 * chunks));
  for_chunks(pool_, n, 1, [&](int64_t begin, int64_t end) {
    Sum sum;
    for_vectors(begin, end, [&](int64_t i, auto lanes) { sum.add(lanes.load(x, i)); });
    partial[begin / kChunk] = sum.total();
  });
  double sum = 0;
  for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
  y[0] = float(scale * sum);
}

void CpuOps::sum_backward(float* dx, const float* dy, float scale, int64_t n) {
  // y = scale * sum of x
  fill(dx, scale * dy[0], n);
}

}  // namespace bts::cpu::BTS_ISA
