#pragma once

#include "../call.h"

namespace bts {

// y = a + b
template <class A>
struct Add {
  static constexpr const char* name = "add";
  const A *a, *b;  // [n]
  A* y;            // [n], may be a or b
  int64_t n;

  static Add read(Call& c) {
    return {.a = c.input<A>("a", "..."), .b = c.input<A>("b", "..."), .y = c.output<A>("y", "..."), .n = c["..."]};
  }
};

}  // namespace bts
