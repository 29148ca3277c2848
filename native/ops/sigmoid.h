#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

// y = 1 / (1 + exp(-x))
template <class A>
struct SigmoidForward {
  static constexpr const char* name = "sigmoid_forward";
  const A* x;  // [n]
  A* y;        // [n]
  int64_t n;

  static SigmoidForward read(Call& c) {
    return {.x = c.input<A>("x", "..."), .y = c.output<A>("y", "..."), .n = c["..."]};
  }
};

// dx = dy y (1 - y)
template <class A>
struct SigmoidBackward {
  static constexpr const char* name = "sigmoid_backward";
  const A *dy, *y;  // [n]
  A* dx;            // [n], may be dy
  int64_t n;

  static SigmoidBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "..."), .y = c.input<A>("y", "..."), .dx = c.output<A>("dx", "..."), .n = c["..."]};
  }
};

// Of one element, or of a vector of them.
template <class Math, class T>
HOST_DEVICE T sigmoid(T x) {
  return 1 / (1 + Math::exp(-x));
}
template <class T>
HOST_DEVICE T sigmoid_dx(T dy, T y) {
  return dy * y * (1 - y);
}

}  // namespace bts
