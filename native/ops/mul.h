#pragma once

#include "../call.h"

namespace bts {

// y = a b, where b has one number for each of a's (G = C), or one for each row (G = 1).
template <class A>
struct MulForward {
  static constexpr const char* name = "mul_forward";
  const A* a;  // [R,C]
  const A* b;  // [R,G]
  A* y;        // [R,C], may be a
  int64_t R, C, G;

  static MulForward read(Call& c) {
    const MulForward op{.a = c.input<A>("a", "... C"),
                        .b = c.input<A>("b", "... G"),
                        .y = c.output<A>("y", "... C"),
                        .R = c["..."],
                        .C = c["C"],
                        .G = c["G"]};
    c.require(op.G == op.C || op.G == 1, "one factor for each element or for each row");
    return op;
  }
};

// da = dy b    db = dy a, summed over the row where G = 1
template <class A>
struct MulBackward {
  static constexpr const char* name = "mul_backward";
  const A *dy, *a;  // [R,C]
  const A* b;       // [R,G]
  A* da;            // [R,C], or null
  A* db;            // [R,G], or null
  int64_t R, C, G;

  static MulBackward read(Call& c) {
    const MulBackward op{.dy = c.input<A>("dy", "... C"),
                         .a = c.input<A>("a", "... C"),
                         .b = c.input<A>("b", "... G"),
                         .da = c.output_or_null<A>("da", "... C"),
                         .db = c.output_or_null<A>("db", "... G"),
                         .R = c["..."],
                         .C = c["C"],
                         .G = c["G"]};
    c.require(op.G == op.C || op.G == 1, "one factor for each element or for each row");
    return op;
  }
};

}  // namespace bts
