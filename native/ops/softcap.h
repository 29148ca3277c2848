// Soft caps: values that grow towards a limit.
#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

// y = cap tanh(x / cap)
template <class A>
struct Softcap {
  static constexpr const char* name = "softcap";
  const A* x;  // [n]
  A* y;        // [n], may be x
  float cap;   // above 0
  int64_t n;

  static Softcap read(Call& c) {
    return {.x = c.input<A>("x", "..."), .y = c.output<A>("y", "..."), .cap = c.positive("cap"), .n = c["..."]};
  }
};

// Of one element, or of a vector of them.
template <class Math, class T>
HOST_DEVICE T capped(T x, float cap) {
  return cap * Math::tanh(x / cap);
}
// The derivative, of the value.
template <class T>
HOST_DEVICE T capped_slope(T y, float cap) {
  const T part = y * (1 / cap);
  return 1 - part * part;
}

}  // namespace bts
