// Gated activation of a feed-forward layer.
#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

// y = silu(gate) * up, silu(x) = x / (1 + exp(-x))
template <class A>
struct SwigluForward {
  static constexpr const char* name = "swiglu_forward";
  const A *gate, *up;  // [M,N,F]
  A* y;                // [M,N,F]
  int64_t n;           // M N F

  static SwigluForward read(Call& c) {
    return {.gate = c.input<A>("gate", "M N F"),
            .up = c.input<A>("up", "M N F"),
            .y = c.output<A>("y", "M N F"),
            .n = c["M"] * c["N"] * c["F"]};
  }
};

template <class A>
struct SwigluBackward {
  static constexpr const char* name = "swiglu_backward";
  const A *dy, *gate, *up;  // [M,N,F]
  A *dgate, *dup;           // may be gate and up
  int64_t n;

  static SwigluBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "M N F"),
            .gate = c.input<A>("gate", "M N F"),
            .up = c.input<A>("up", "M N F"),
            .dgate = c.output<A>("dgate", "M N F"),
            .dup = c.output<A>("dup", "M N F"),
            .n = c["M"] * c["N"] * c["F"]};
  }
};

// Of one element, or of a vector of them.
template <class Math, class T>
HOST_DEVICE T swiglu(T gate, T up) {
  return gate / (1 + Math::exp(-gate)) * up;
}
// The gate's gradient: y = g s u with s = 1 / (1 + exp(-g)), s' = s (1 - s).
template <class T>
HOST_DEVICE T swiglu_dgate(T dy, T gate, T up, T s) {
  return dy * up * s * (1 + gate * (1 - s));
}

}  // namespace bts
