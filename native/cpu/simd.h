// One vector type per instruction set, on the compiler's own vector extension: the same source is compiled once for
// each, and the widest that the processor has is chosen when a device opens (see cpu_ops.h).
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#if defined(__F16C__)
#include <immintrin.h>
#endif

#include "../types.h"

#if defined(__AVX512F__)
#define BTS_ISA avx512
#define BTS_LANES 16
#elif defined(__AVX2__)
#define BTS_ISA avx2
#define BTS_LANES 8
#else
#define BTS_ISA generic
#define BTS_LANES 4
#endif

namespace bts::cpu::BTS_ISA {

constexpr int kLanes = BTS_LANES;

// Whether the files *_bf16.cc are compiled beside it, for those of its processors that multiply bf16.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kHasBf16 = true;
#else
constexpr bool kHasBf16 = false;
#endif

typedef float vfloat __attribute__((vector_size(BTS_LANES * 4)));
typedef int32_t vint __attribute__((vector_size(BTS_LANES * 4)));
typedef uint16_t vhalf __attribute__((vector_size(BTS_LANES * 2)));
typedef double vdouble __attribute__((vector_size(BTS_LANES * 4)));
typedef float vfloat_unaligned __attribute__((vector_size(BTS_LANES * 4), aligned(4), may_alias));
typedef uint16_t vhalf_unaligned __attribute__((vector_size(BTS_LANES * 2), aligned(2), may_alias));

inline vfloat load(const float* p) { return *reinterpret_cast<const vfloat_unaligned*>(p); }
inline void store(float* p, vfloat v) { *reinterpret_cast<vfloat_unaligned*>(p) = v; }
inline vfloat splat(float x) { return x - vfloat{}; }
inline vfloat multiply_add(vfloat a, vfloat b, vfloat sum) { return sum + a * b; }

inline float widen_bf16(uint16_t bits) {
  uint32_t wide = uint32_t(bits) << 16;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
}

inline float widen_f16(uint16_t bits) {
#if defined(__F16C__)
  return _cvtsh_ss(bits);
#else
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent == 0) {  // zero or subnormal: the fraction counts in units of 2^-24
    const float magnitude = float(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const uint32_t wide = sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13;
  float x;
  std::memcpy(&x, &wide, 4);
  return x;
#endif
}

inline vfloat load_bf16(const uint16_t* p) {
#if defined(__AVX512F__)
  // By name: g++ 12 converts the halves of a vector one by one, and puts them together again. Masked as in load_f16.
  const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return (vfloat)((vint)_mm512_maskz_cvtepu16_epi32(0xffff, half) << 16);
#elif defined(__AVX2__)
  return (vfloat)((vint)_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))) << 16);
#else
  const vhalf half = *reinterpret_cast<const vhalf_unaligned*>(p);
  return (vfloat)(__builtin_convertvector(half, vint) << 16);
#endif
}

inline vfloat load_f16(const uint16_t* p) {
#if defined(__AVX512F__)
  // The masked form: g++ 12 warns of an uninitialised value inside the plain one (GCC bug 105593).
  return (vfloat)_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__)
  return (vfloat)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  vfloat v;
  for (int i = 0; i < kLanes; i++) v[i] = widen_f16(p[i]);
  return v;
#endif
}

// Reads element i of frozen storage as f32, one type per precision, so that kernels are templates over them.
struct F32 {
  const float* p;
  static constexpr int64_t bytes(int64_t count) { return 4 * count; }
  F32 from(int64_t i) const { return {p + i}; }
  float at(int64_t i) const { return p[i]; }
  vfloat vector(int64_t i) const { return load(p + i); }
};
struct BF16 {
  const uint16_t* p;
  static constexpr int64_t bytes(int64_t count) { return 2 * count; }
  BF16 from(int64_t i) const { return {p + i}; }
  float at(int64_t i) const { return widen_bf16(p[i]); }
  vfloat vector(int64_t i) const { return load_bf16(p + i); }
};
struct F16 {
  const uint16_t* p;
  static constexpr int64_t bytes(int64_t count) { return 2 * count; }
  F16 from(int64_t i) const { return {p + i}; }
  float at(int64_t i) const { return widen_f16(p[i]); }
  vfloat vector(int64_t i) const { return load_f16(p + i); }
};

// Calls f with the reader of the weight's precision.
template <class F>
inline void with_reader(const Weight& weight, F&& f) {
  switch (weight.dtype) {
    case DType::BF16: return f(BF16{static_cast<const uint16_t*>(weight.data)});
    case DType::F16: return f(F16{static_cast<const uint16_t*>(weight.data)});
    default: return f(F32{static_cast<const float*>(weight.data)});
  }
}

// Where a kernel stands in its row: on a whole vector, or on the part of one that is left at the end. A part's other
// lanes read as `fill` and are not written.
struct Whole {
  vfloat load(const float* p, int64_t i, float = 0) const { return BTS_ISA::load(p + i); }
  template <class Reader>
  vfloat read(Reader weight, int64_t i) const {
    return weight.vector(i);
  }
  void store(float* p, int64_t i, vfloat v) const { BTS_ISA::store(p + i, v); }
};
struct Part {
  int64_t count;
  vfloat load(const float* p, int64_t i, float fill = 0) const {
    vfloat v = splat(fill);
    std::memcpy(&v, p + i, size_t(count) * 4);
    return v;
  }
  template <class Reader>
  vfloat read(Reader weight, int64_t i) const {
    vfloat v{};
    for (int64_t lane = 0; lane < count; lane++) v[lane] = weight.at(i + lane);
    return v;
  }
  void store(float* p, int64_t i, vfloat v) const { std::memcpy(p + i, &v, size_t(count) * 4); }
};

// Calls f(i, lanes) for every vector of begin..end-1, so that a kernel is written once and has no scalar twin.
template <class F>
inline void for_vectors(int64_t begin, int64_t end, F&& f) {
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) f(i, Whole{});
  if (i < end) f(i, Part{end - i});
}

// a > b ? a : b, so b where one is NaN. By name: g++ 12 compares and blends.
inline vfloat max(vfloat a, vfloat b) {
#if defined(__AVX512F__)
  return (vfloat)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b);
#elif defined(__AVX2__)
  return (vfloat)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// Rows become columns, in log2(lanes) rounds of interleaving each row with the one half the block away.
template <class Vector>
inline void transpose(Vector (&rows)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Vector next[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes / 2; i++) {
      const Vector a = rows[i], b = rows[i + kLanes / 2];
#if BTS_LANES == 16
      next[2 * i] = __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif BTS_LANES == 8
      next[2 * i] = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
      next[2 * i] = __builtin_shufflevector(a, b, 0, 4, 1, 5);
      next[2 * i + 1] = __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) rows[i] = next[i];
  }
}

// Lane i receives lane i + width, round the end.
template <int width, int... I>
inline vfloat rotate(vfloat v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, ((I + width) % kLanes)...);
}

// Combines all lanes by halves, in log2(lanes) rounds.
template <int width = kLanes / 2, class F>
inline float reduce(vfloat v, F&& combine) {
  v = combine(v, rotate<width>(v, std::make_integer_sequence<int, kLanes>()));
  if constexpr (width > 1) return reduce<width / 2>(v, combine);
  else return v[0];
}

inline float reduce_add(vfloat v) {
  return reduce(v, [](vfloat a, vfloat b) { return a + b; });
}
inline float reduce_max(vfloat v) { return reduce(v, max); }

// A sum of f32 vectors or of their products, in f64.
class Sum {
 public:
  void add(vfloat v) {
    low_ += widen<0>(v);
    high_ += widen<kHalf>(v);
  }
  void add_product(vfloat a, vfloat b) {
    low_ += widen<0>(a) * widen<0>(b);
    high_ += widen<kHalf>(a) * widen<kHalf>(b);
  }
  double total() const {
    const vdouble both = low_ + high_;
    double sum = 0;
    for (int i = 0; i < kHalf; i++) sum += both[i];
    return sum;
  }

 private:
  static constexpr int kHalf = kLanes / 2;

  template <int first>
  static vdouble widen(vfloat v) {
#if defined(__AVX512F__)
    return (vdouble)_mm512_maskz_cvtps_pd(0xff, _mm512_maskz_extractf32x8_ps(0xff, (__m512)v, first / kHalf));
#elif defined(__AVX2__)
    // By name: g++ 12 converts the halves of a half one by one, and puts them together again.
    return (vdouble)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, first / kHalf));
#else
    return widen_lanes<first>(v, std::make_integer_sequence<int, kHalf>());
#endif
  }
  template <int first, int... I>
  static vdouble widen_lanes(vfloat v, std::integer_sequence<int, I...>) {
    return __builtin_convertvector(__builtin_shufflevector(v, v, (first + I)...), vdouble);
  }

  vdouble low_{}, high_{};
};

}  // namespace bts::cpu::BTS_ISA
