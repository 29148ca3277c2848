// Sum or mean over one axis, as a rule that of the members.
#pragma once

#include "../call.h"

namespace bts {

// y[l,r] = scale * sum over m of x[l,m,r]
template <class A>
struct SumAxisForward {
  static constexpr const char* name = "sum_axis_forward";
  const A* x;  // [L,M,R]
  A* y;        // [L,1,R]
  float scale;
  int64_t L, M, R;

  static SumAxisForward read(Call& c) {
    return {.x = c.input<A>("x", "L M R"),
            .y = c.output<A>("y", "L 1 R"),
            .scale = c.f32("scale"),
            .L = c["L"],
            .M = c.positive_size("M"),
            .R = c["R"]};
  }
};

// dx[l,m,r] = scale * dy[l,r]
template <class A>
struct SumAxisBackward {
  static constexpr const char* name = "sum_axis_backward";
  const A* dy;  // [L,1,R]
  A* dx;        // [L,M,R]
  float scale;
  int64_t L, M, R;

  static SumAxisBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "L 1 R"),
            .dx = c.output<A>("dx", "L M R"),
            .scale = c.f32("scale"),
            .L = c["L"],
            .M = c.positive_size("M"),
            .R = c["R"]};
  }
};

}  // namespace bts
