// Functions of vectors.
#pragma once

#include "simd.h"

namespace bts::cpu::BTS_ISA {

// e^x to about 1 ulp (Cephes' polynomial on [-ln2/2, ln2/2]); 0 below -87.3, infinity above 88.7, NaN stays NaN:
// the comparisons are written so that a NaN fails them and passes through.
inline vfloat exp(vfloat x) {
  const vfloat low = splat(-87.33654f), high = splat(88.72283f);
  vfloat t = x < low ? low : x;
  t = t > high ? high : t;
  const vfloat magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const vfloat shifted = t * 1.44269504f + magic;
  const vfloat n = shifted - magic;
  const vfloat r = (t - n * 0.693359375f) + n * 2.12194440e-4f;
  vfloat p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  // 2^n in two factors: n reaches 128, one more than the exponent field holds.
  const vint k = (vint)shifted - (vint)magic, half = k >> 1;
  const vfloat scale = (vfloat)((half + 127) << 23), rest = (vfloat)((k - half + 127) << 23);
  vfloat y = p * scale * rest;
  y = x < low ? vfloat{} : y;
  return x > high ? splat(__builtin_inff()) : y;
}

inline float exp(float x) { return exp(splat(x))[0]; }

inline vfloat magnitude(vfloat x) { return (vfloat)((vint)x & 0x7fffffff); }
inline vfloat with_sign(vfloat magnitude, vfloat x) {
  return (vfloat)((vint)magnitude | ((vint)x & int32_t(0x80000000)));
}

// tanh to about 1 ulp: near zero Cephes' polynomial, where 1 - 2 / (e^2x + 1) would cancel. NaN stays NaN.
inline vfloat tanh(vfloat x) {
  const vfloat a = magnitude(x), s = x * x;
  vfloat p = splat(-5.70498872745e-3f);
  p = p * s + 2.06390887954e-2f;
  p = p * s - 5.37397155531e-2f;
  p = p * s + 1.33314422036e-1f;
  p = p * s - 3.33332819422e-1f;
  const vfloat near = p * s * x + x, far = with_sign(1.0f - 2.0f / (exp(2.0f * a) + 1.0f), x);
  return a > 0.625f ? far : near;
}

// The error function to about 1 ulp, by two of N. Juffa's polynomials. NaN stays NaN.
inline vfloat erf(vfloat x) {
  const vfloat a = magnitude(x), s = x * x;
  vfloat p = splat(-5.96761703e-4f);
  p = p * s + 4.99119423e-3f;
  p = p * s - 2.67681349e-2f;
  p = p * s + 1.12819925e-1f;
  p = p * s - 3.76125336e-1f;
  p = p * s + 1.28379166e-1f;
  const vfloat near = p * x + x;
  vfloat q = -1.72853470e-5f * a + 3.83197126e-4f;
  q = q * s + (-3.88396438e-3f * a + 2.42546219e-2f);
  q = q * a - 1.06777877e-1f;
  q = q * a - 6.34846687e-1f;
  q = q * a - 1.28717512e-1f;
  const vfloat far = with_sign(1.0f - exp(q * a - a), x);
  return a > 0.927734375f ? far : near;
}

// For the formulas that both backends share (see host_device.h).
struct Math {
  static vfloat exp(vfloat x) { return BTS_ISA::exp(x); }
  static vfloat tanh(vfloat x) { return BTS_ISA::tanh(x); }
  static vfloat erf(vfloat x) { return BTS_ISA::erf(x); }
  static float sqrt(float x) { return __builtin_sqrtf(x); }
};

}  // namespace bts::cpu::BTS_ISA
