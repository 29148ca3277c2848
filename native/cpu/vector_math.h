// Functions of vectors.
#pragma once

#include "simd.h"

namespace bts::cpu::BTS_ISA {

// Where e^x is smaller than any normal number, and larger than any.
constexpr float kExpLow = -87.33654f, kExpHigh = 88.72283f;

// e^x = fraction * 2^n for x between the two, to about 1 ulp (Cephes' polynomial on [-ln2/2, ln2/2]).
struct ExpParts {
  vfloat fraction;
  vint exponent;  // n + 127, as the field of a float holds it, in the low bits, below others

  explicit ExpParts(vfloat x) {
    // 1.5 * 2^23 and 127: adding them rounds to an integer in the low bits.
    const vfloat magic = splat(12582912.0f + 127);
    const vfloat shifted = x * 1.44269504f + magic;
    const vfloat n = shifted - magic;
    const vfloat r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    vfloat p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r + 1;
    fraction = p * r + 1;
    exponent = (vint)shifted;
  }
};

// e^x; 0 below kExpLow, infinity above kExpHigh, NaN stays NaN: the comparisons are written so that a NaN fails them and
// passes through.
inline vfloat exp(vfloat x) {
  vfloat t = x < kExpLow ? splat(kExpLow) : x;
  t = t > kExpHigh ? splat(kExpHigh) : t;
  const ExpParts parts(t);
  // 2^n in two factors: n reaches 128, one more than the exponent field holds.
  const vint n = parts.exponent - (vint)splat(12582912.0f + 127), half = n >> 1;
  const vfloat scale = (vfloat)((half + 127) << 23), rest = (vfloat)((n - half + 127) << 23);
  vfloat y = parts.fraction * scale * rest;
  y = x < kExpLow ? vfloat{} : y;
  return x > kExpHigh ? splat(__builtin_inff()) : y;
}

// The same for x up to 88 in fewer steps, for a softmax, whose largest x is about zero: at -88 and below 2^n is zero.
inline vfloat exp_of_shifted(vfloat x) {
  const ExpParts parts(max(splat(-88), x));
  return parts.fraction * (vfloat)(parts.exponent << 23);
}

inline float exp(float x) { return exp(splat(x))[0]; }

inline vfloat absolute(vfloat x) { return x < 0 ? -x : x; }

// To about 1 ulp (Cephes): a polynomial about 0, where 1 - 2 / (e^2x + 1) would cancel. NaN stays NaN.
inline vfloat tanh(vfloat x) {
  const vfloat square = x * x;
  vfloat p = splat(-5.70498872745e-3f);
  p = p * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const vfloat near = p * square * x + x, far = 1 - 2 / (exp(2 * x) + 1);
  return absolute(x) < 0.625f ? near : far;
}

// To 1.2e-7 of its value (Press et al., Numerical Recipes). NaN stays NaN.
inline vfloat erfc(vfloat x) {
  const vfloat z = absolute(x), t = 1 / (1 + 0.5f * z);
  vfloat p = splat(0.17087277f);
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  const vfloat tail = t * exp(p - z * z);
  return x < 0 ? 2 - tail : tail;
}

// For the formulas that both backends share (see host_device.h).
struct Math {
  static vfloat exp(vfloat x) { return BTS_ISA::exp(x); }
  static vfloat tanh(vfloat x) { return BTS_ISA::tanh(x); }
  static vfloat erfc(vfloat x) { return BTS_ISA::erfc(x); }
  static float sqrt(float x) { return __builtin_sqrtf(x); }
  static vfloat divide(auto x, vfloat y) { return x / y; }
};

}  // namespace bts::cpu::BTS_ISA
