// What gates a feed-forward layer.
#pragma once

#include <cstdint>

namespace bts {

enum class Activation : uint8_t {
  Silu,      // x / (1 + exp(-x))
  Gelu,      // x Phi(x), Phi being the normal distribution: Phi(x) = erfc(-x / sqrt 2) / 2
  GeluTanh,  // x (1 + tanh u) / 2 = x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3)
};

// The constants of GeluTanh: -2u = x (kGeluLinear + kGeluCubic x^2).
constexpr float kGeluLinear = -1.5957691216f;               // -2 sqrt(2/pi)
constexpr float kGeluCubic = kGeluLinear * 0.044715f;
constexpr float kInverseRoot2 = 0.70710678118f;
constexpr float kNormalPeak = 0.39894228040f;               // 1 / sqrt(2 pi): the density at 0

}  // namespace bts
