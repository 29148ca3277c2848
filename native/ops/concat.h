#pragma once

#include "../call.h"

namespace bts {

// y[r,:] = a[r,:], then b[r,:]. Its gradient is two slices (slice.h).
template <class A>
struct Concat {
  static constexpr const char* name = "concat";
  const A* a;  // [R,I]
  const A* b;  // [R,J]
  A* y;        // [R,I+J]
  int64_t R, I, J;

  static Concat read(Call& c) {
    const Concat op{.a = c.input<A>("a", "R I"),
                    .b = c.input<A>("b", "R J"),
                    .y = c.output<A>("y", "R Y"),
                    .R = c["R"],
                    .I = c["I"],
                    .J = c["J"]};
    c.require(c["Y"] == op.I + op.J,
              "rows of " + std::to_string(op.I + op.J) + " in 'y', got " + std::to_string(c["Y"]));
    return op;
  }
};

}  // namespace bts
