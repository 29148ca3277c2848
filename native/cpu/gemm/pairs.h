// Numbers rounded to bf16, in pairs of neighbours along the depth of a product: what a processor with AVX512_BF16, or one of
// Arm with bf16, multiplies and sums in one step. That arithmetic takes subnormal numbers, of either precision, for zero and
// raises no exceptions; Arm's rounds sums to odd.
#pragma once

#include "../simd.h"
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#include <arm_neon.h>
#endif

namespace bts::cpu::BTS_ISA {

// The first neighbour lies in the lower half.
struct Pair {
  uint32_t bits;
};

#if defined(__AVX512BF16__)

typedef uint32_t vpair __attribute__((vector_size(64)));
typedef uint16_t vpair_halves __attribute__((vector_size(64)));

inline vpair load(const Pair* p) { return (vpair)_mm512_loadu_si512(p); }
inline void store(Pair* p, vpair v) { _mm512_storeu_si512(p, (__m512i)v); }
inline vpair splat(Pair x) { return x.bits - vpair{}; }

inline vfloat multiply_add(vpair a, vpair b, vfloat sum) {
  return (vfloat)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

// The numbers of `first`, then those of `second`, rounded to the nearest, ties to even; NaN stays NaN.
inline vpair narrow(vfloat first, vfloat second) { return (vpair)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first); }
inline Pair narrow(float first, float second) {
  const __m128i pair = (__m128i)_mm_cvtneps_pbh(_mm_set_ps(0, 0, second, first));
  return {uint32_t(_mm_cvtsi128_si32(pair))};
}

// Lane i receives number i of the lower half of what narrow gives, and number i of the upper half.
inline vpair interleave(vpair v) {
  return (vpair)__builtin_shufflevector((vpair_halves)v, (vpair_halves)v, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6,
                                        22, 7, 23, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)

typedef uint32_t vpair __attribute__((vector_size(16)));

inline vpair load(const Pair* p) { return (vpair)vld1q_u32(&p->bits); }
inline void store(Pair* p, vpair v) { vst1q_u32(&p->bits, (uint32x4_t)v); }
inline vpair splat(Pair x) { return x.bits - vpair{}; }

inline vfloat multiply_add(vpair a, vpair b, vfloat sum) {
  return (vfloat)vbfdotq_f32((float32x4_t)sum, (bfloat16x8_t)a, (bfloat16x8_t)b);
}

inline vpair narrow(vfloat first, vfloat second) {
  return (vpair)vcvtq_high_bf16_f32(vcvtq_low_bf16_f32((float32x4_t)first), (float32x4_t)second);
}
inline Pair narrow(float first, float second) { return {narrow(vfloat{first, second}, vfloat{})[0]}; }

inline vpair interleave(vpair v) {
  const uint16x8_t halves = (uint16x8_t)v;
  return (vpair)vzip1q_u16(halves, vextq_u16(halves, halves, 4));
}

#endif

}  // namespace bts::cpu::BTS_ISA
