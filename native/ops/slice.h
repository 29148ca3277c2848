// Some columns of a matrix.
#pragma once

#include "../call.h"

namespace bts {

// y[r,j] = x[r,first+j]
template <class A>
struct SliceForward {
  static constexpr const char* name = "slice_forward";
  const A* x;  // [R,I]
  A* y;        // [R,J]
  int64_t first, R, I, J;

  static SliceForward read(Call& c) {
    const SliceForward op{.x = c.input<A>("x", "R I"),
                          .y = c.output<A>("y", "R J"),
                          .first = c.integer("first"),
                          .R = c["R"],
                          .I = c["I"],
                          .J = c["J"]};
    c.require(op.first + op.J <= op.I, "columns that 'x' has");
    return op;
  }
};

// dx[r,first+j] (+)= dy[r,j]; the other columns are 0 where nothing is added to
template <class A>
struct SliceBackward {
  static constexpr const char* name = "slice_backward";
  const A* dy;  // [R,J]
  A* dx;        // [R,I]
  int64_t first, R, I, J;
  bool accumulate;

  static SliceBackward read(Call& c) {
    const bool accumulate = c.flag("accumulate");
    const SliceBackward op{.dy = c.input<A>("dy", "R J"),
                           .dx = c.gradient<A>("dx", "R I", accumulate),
                           .first = c.integer("first"),
                           .R = c["R"],
                           .I = c["I"],
                           .J = c["J"],
                           .accumulate = accumulate};
    c.require(op.first + op.J <= op.I, "columns that 'dx' has");
    return op;
  }
};

}  // namespace bts
