// Softmax over one axis, as a rule that of the members: few entries, next to each other or far apart.
#pragma once

#include "../call.h"

namespace bts {

// y[l,m,r] = exp(x[l,m,r]) / sum over j of exp(x[l,j,r])
template <class A>
struct SoftmaxForward {
  static constexpr const char* name = "softmax_forward";
  const A* x;  // [L,M,R]
  A* y;        // [L,M,R], may be x
  int64_t L, M, R;

  static SoftmaxForward read(Call& c) {
    return {.x = c.input<A>("x", "L M R"),
            .y = c.output<A>("y", "L M R"),
            .L = c["L"],
            .M = c.positive_size("M"),
            .R = c["R"]};
  }
};

// dx[l,m,r] = y[l,m,r] (dy[l,m,r] - sum over j of y[l,j,r] dy[l,j,r])
template <class A>
struct SoftmaxBackward {
  static constexpr const char* name = "softmax_backward";
  const A *dy, *y;  // [L,M,R]
  A* dx;            // [L,M,R], may be dy
  int64_t L, M, R;

  static SoftmaxBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "L M R"),
            .y = c.input<A>("y", "L M R"),
            .dx = c.output<A>("dx", "L M R"),
            .L = c["L"],
            .M = c.positive_size("M"),
            .R = c["R"]};
  }
};

}  // namespace bts
