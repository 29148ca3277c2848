#pragma once

#include "../call.h"

namespace bts {

// y[r,:] = x[rows[r],:]
template <class A>
struct GatherRows {
  static constexpr const char* name = "gather_rows";
  const A* x;           // [N,C]
  const int32_t* rows;  // [R], each in 0..N-1
  A* y;                 // [R,C]
  int64_t R, C;

  static GatherRows read(Call& c) {
    return {.x = c.input<A>("x", "N C"),
            .rows = c.indices("rows", "R", "N"),
            .y = c.output<A>("y", "R C"),
            .R = c["R"],
            .C = c["C"]};
  }
};

}  // namespace bts
