#pragma once

#include "../call.h"

namespace bts {

// y[b,a,:] = x[a,b,:]; also the gradient, with dy for x
template <class A>
struct SwapAxes {
  static constexpr const char* name = "swap_axes";
  const A* x;  // [I,J,C]
  A* y;        // [J,I,C]
  int64_t I, J, C;

  static SwapAxes read(Call& c) {
    return {.x = c.input<A>("x", "I J C"), .y = c.output<A>("y", "J I C"), .I = c["I"], .J = c["J"], .C = c["C"]};
  }
};

}  // namespace bts
