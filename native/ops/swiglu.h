// Gated activation of a feed-forward layer.
#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

// What the gate goes through.
enum class Activation : uint8_t {
  Silu,      // x / (1 + exp(-x))
  Gelu,      // x Phi(x), Phi being the normal distribution: Phi(x) = erfc(-x / sqrt 2) / 2
  GeluTanh,  // x (1 + tanh u) / 2 = x / (1 + exp(-2u)) with u = sqrt(2/pi) (x + 0.044715 x^3)
};

inline Activation activation(Call& c) {
  return static_cast<Activation>(c.choice("activation", {"silu", "gelu", "geluTanh"}));
}

// y = act(gate) * up
template <class A>
struct SwigluForward {
  static constexpr const char* name = "swiglu_forward";
  const A *gate, *up;  // [M,N,F]
  A* y;                // [M,N,F]
  int64_t n;           // M N F
  Activation act;

  static SwigluForward read(Call& c) {
    return {.gate = c.input<A>("gate", "M N F"),
            .up = c.input<A>("up", "M N F"),
            .y = c.output<A>("y", "M N F"),
            .n = c["M"] * c["N"] * c["F"],
            .act = activation(c)};
  }
};

template <class A>
struct SwigluBackward {
  static constexpr const char* name = "swiglu_backward";
  const A *dy, *gate, *up;  // [M,N,F]
  A *dgate, *dup;           // may be gate and up
  int64_t n;
  Activation act;

  static SwigluBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "M N F"),
            .gate = c.input<A>("gate", "M N F"),
            .up = c.input<A>("up", "M N F"),
            .dgate = c.output<A>("dgate", "M N F"),
            .dup = c.output<A>("dup", "M N F"),
            .n = c["M"] * c["N"] * c["F"],
            .act = activation(c)};
  }
};

// Each has the value at x, and d times the derivative there; of one element, or of a vector of them.
template <class Math>
struct Silu {
  template <class T>
  HOST_DEVICE static T value(T x) {
    return Math::divide(x, 1 + Math::exp(-x));
  }
  // s + x s' with s = 1 / (1 + exp(-x)), s' = s (1 - s)
  template <class T>
  HOST_DEVICE static T times_slope(T d, T x) {
    const T s = Math::divide(1.0f, 1 + Math::exp(-x));
    return d * s * (1 + x * (1 - s));
  }
};

template <class Math>
struct Gelu {
  template <class T>
  HOST_DEVICE static T normal(T x) {
    return 0.5f * Math::erfc(-0.70710678118f * x);  // 1 / sqrt 2
  }
  template <class T>
  HOST_DEVICE static T value(T x) {
    return x * normal(x);
  }
  // The density at 0 is 1 / sqrt(2 pi).
  template <class T>
  HOST_DEVICE static T times_slope(T d, T x) {
    return d * (normal(x) + x * 0.39894228040f * Math::exp(-0.5f * x * x));
  }
};

template <class Math>
struct GeluTanh {
  // -2u = x (kLinear + kCubic x^2)
  static constexpr float kLinear = -1.5957691216f;  // -2 sqrt(2/pi)
  static constexpr float kCubic = kLinear * 0.044715f;

  template <class T>
  HOST_DEVICE static T sigmoid(T x) {
    return Math::divide(1.0f, 1 + Math::exp(x * (kLinear + kCubic * x * x)));
  }
  template <class T>
  HOST_DEVICE static T value(T x) {
    return x * sigmoid(x);
  }
  // s + x s (1 - s) 2u'
  template <class T>
  HOST_DEVICE static T times_slope(T d, T x) {
    const T s = sigmoid(x);
    return d * s * (1 - x * (1 - s) * (kLinear + 3 * kCubic * x * x));
  }
};

}  // namespace bts
