#include <algorithm>
#include <cstring>

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

void CpuOps::run(const Convert& op) {
  const auto [x, from, y, to, n] = op;
  if (to == from) {
    const auto* bytes = static_cast<const uint8_t*>(x);
    std::copy_n(bytes, n * int64_t(size_of(to)), static_cast<uint8_t*>(y));
    return;
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

}  // namespace bts::cpu::BTS_ISA
