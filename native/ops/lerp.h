#pragma once

#include "../call.h"

namespace bts {

// y = a + g (b - a), that is (1 - g) a + g b, where g has one number for each of a's (G = C), or one for each row (G = 1).
template <class A>
struct LerpForward {
  static constexpr const char* name = "lerp_forward";
  const A *a, *b;  // [R,C]
  const A* g;      // [R,G]
  A* y;            // [R,C]
  int64_t R, C, G;

  static LerpForward read(Call& c) {
    const LerpForward op{.a = c.input<A>("a", "... C"),
                         .b = c.input<A>("b", "... C"),
                         .g = c.input<A>("g", "... G"),
                         .y = c.output<A>("y", "... C"),
                         .R = c["..."],
                         .C = c["C"],
                         .G = c["G"]};
    c.require(op.G == op.C || op.G == 1, "one gate for each element or for each row");
    return op;
  }
};

// da = dy - g dy    db = g dy    dg = dy (b - a), summed over the row where G = 1
template <class A>
struct LerpBackward {
  static constexpr const char* name = "lerp_backward";
  const A *dy, *a, *b;  // [R,C]
  const A* g;           // [R,G]
  A *da, *db;           // [R,C]
  A* dg;                // [R,G]
  int64_t R, C, G;

  static LerpBackward read(Call& c) {
    const LerpBackward op{.dy = c.input<A>("dy", "... C"),
                          .a = c.input<A>("a", "... C"),
                          .b = c.input<A>("b", "... C"),
                          .g = c.input<A>("g", "... G"),
                          .da = c.output<A>("da", "... C"),
                          .db = c.output<A>("db", "... C"),
                          .dg = c.output<A>("dg", "... G"),
                          .R = c["..."],
                          .C = c["C"],
                          .G = c["G"]};
    c.require(op.G == op.C || op.G == 1, "one gate for each element or for each row");
    return op;
  }
};

}  // namespace bts
