// Activations of gated feed-forward layers, and their derivatives, on vectors.
#pragma once

#include "../activation.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

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

inline float tanh(float x) { return tanh(splat(x))[0]; }

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

// Each has value(x), and d times value(x) and times its derivative.
struct Silu {
  static vfloat value(vfloat x) { return x / (1 + exp(-x)); }
  static vfloat times_value(vfloat d, vfloat x) { return d * x * (1 / (1 + exp(-x))); }
  // s + x s', with s' = s (1 - s)
  static vfloat times_slope(vfloat d, vfloat x) {
    const vfloat s = 1 / (1 + exp(-x));
    return d * s * (1 + x * (1 - s));
  }
};

struct Gelu {
  static vfloat normal(vfloat x) { return 0.5f * erfc(-kInverseRoot2 * x); }
  static vfloat value(vfloat x) { return x * normal(x); }
  static vfloat times_value(vfloat d, vfloat x) { return d * value(x); }
  static vfloat times_slope(vfloat d, vfloat x) { return d * (normal(x) + x * kNormalPeak * exp(-0.5f * x * x)); }
};

struct GeluTanh {
  static vfloat sigmoid(vfloat x) { return 1 / (1 + exp(x * (kGeluLinear + kGeluCubic * x * x))); }
  static vfloat value(vfloat x) { return x * sigmoid(x); }
  static vfloat times_value(vfloat d, vfloat x) { return d * value(x); }
  // s + x s (1 - s) 2u'
  static vfloat times_slope(vfloat d, vfloat x) {
    const vfloat s = sigmoid(x);
    return d * s * (1 - x * (1 - s) * (kGeluLinear + 3 * kGeluCubic * x * x));
  }
};

// Calls f with the activation's type.
template <class F>
inline void with_activation(Activation activation, F&& f) {
  switch (activation) {
    case Activation::Silu: return f(Silu());
    case Activation::Gelu: return f(Gelu());
    case Activation::GeluTanh: return f(GeluTanh());
  }
}

}  // namespace bts::cpu::BTS_ISA
