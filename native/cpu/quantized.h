// How numbers of quantized matrices are widened: to what they stand for, rounded to f32, before anything is done with them. So
// a product with such a matrix is, to the bit, that with the matrix of f32 that it stands for.
#pragma once

#include "../quantized.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

inline vfloat widen(const int8_t* codes) {
#if defined(__AVX512F__)
  // By name, and masked, as in load_bf16.
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(codes));
  return (vfloat)_mm512_maskz_cvtepi32_ps(0xffff, _mm512_maskz_cvtepi8_epi32(0xffff, bytes));
#elif defined(__AVX2__)
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes));
  return (vfloat)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
  typedef int8_t vbyte __attribute__((vector_size(kLanes)));
  vbyte bytes;
  std::memcpy(&bytes, codes, sizeof bytes);
  return __builtin_convertvector(bytes, vfloat);
#endif
}

// kLanes bytes.
inline vint widen(const uint8_t* bytes) {
#if defined(__AVX512F__)
  return (vint)_mm512_maskz_cvtepu8_epi32(0xffff, _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
#elif defined(__AVX2__)
  return (vint)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
#else
  typedef uint8_t vbyte __attribute__((vector_size(kLanes)));
  vbyte narrow;
  std::memcpy(&narrow, bytes, sizeof narrow);
  return __builtin_convertvector(narrow, vint);
#endif
}

// A group, with what widens its codes in registers; `vector` takes multiples of kLanes.
struct Int8Numbers {
  const int8_t* codes;
  vfloat scale;

  float at(int64_t k) const { return float(codes[k]) * scale[0]; }
  vfloat vector(int64_t k) const { return widen(codes + k) * scale; }
};

struct Int4Numbers {
  static constexpr int64_t kHalf = Int4Group::kNumbers / 2;
  const uint8_t* codes;
#if BTS_LANES == 16
  vfloat values;  // what each code stands for

  explicit Int4Numbers(const Int4Group& group) : codes(group.codes) {
    const vfloat all = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    values = all * splat(group.scale) + splat(group.offset);
  }
  // Of each index its lowest four bits count.
  vfloat of(vint index) const { return (vfloat)_mm512_maskz_permutexvar_ps(0xffff, (__m512i)index, (__m512)values); }
  float of(int code) const { return values[code]; }
#else
  vfloat scale, offset;

  explicit Int4Numbers(const Int4Group& group)
      : codes(group.codes), scale(splat(group.scale)), offset(splat(group.offset)) {}
  vfloat of(vint index) const { return __builtin_convertvector(index & 15, vfloat) * scale + offset; }
  float of(int code) const { return of(code - vint{})[0]; }
#endif
  Int4Numbers() = default;

  float at(int64_t k) const { return of(k < kHalf ? codes[k] & 15 : codes[k - kHalf] >> 4); }
  vfloat vector(int64_t k) const { return k < kHalf ? of(widen(codes + k)) : of(widen(codes + k - kHalf) >> 4); }
};

// Reads number i of a matrix of groups, as the readers of simd.h do of floats; `vector` takes multiples of kLanes.
template <class Group, class Numbers_>
struct Grouped {
  using Numbers = Numbers_;
  static constexpr int64_t kGroup = Group::kNumbers;
  const Group* p;

  static constexpr int64_t bytes(int64_t count) { return count / kGroup * int64_t(sizeof(Group)); }
  // i is the first of a group.
  Grouped from(int64_t i) const { return {p + i / kGroup}; }
  Numbers group(int64_t i) const;
  float at(int64_t i) const { return group(i).at(i % kGroup); }
  vfloat vector(int64_t i) const { return group(i).vector(i % kGroup); }
};
using Int8 = Grouped<Int8Group, Int8Numbers>;
using Int4 = Grouped<Int4Group, Int4Numbers>;

template <>
inline Int8Numbers Int8::group(int64_t i) const {
  const Int8Group& group = p[i / kGroup];
  return {group.codes, splat(group.scale)};
}
template <>
inline Int4Numbers Int4::group(int64_t i) const {
  return Int4Numbers(p[i / kGroup]);
}

template <class Reader>
constexpr bool is_grouped = false;
template <class Group, class Numbers>
inline constexpr bool is_grouped<Grouped<Group, Numbers>> = true;
template <class Reader>
using NumbersOf = typename Reader::Numbers;

// Calls f with the reader of a matrix, which may be quantized.
template <class F>
inline void with_matrix_reader(const Weight& weight, F&& f) {
  switch (weight.dtype) {
    case DType::Int8: return f(Int8{static_cast<const Int8Group*>(weight.data)});
    case DType::Int4: return f(Int4{static_cast<const Int4Group*>(weight.data)});
    default: return with_reader(weight, f);
  }
}

}  // namespace bts::cpu::BTS_ISA
