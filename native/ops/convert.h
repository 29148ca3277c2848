#pragma once

#include "../call.h"

namespace bts {

// y = x in the type of y, to the nearest, ties to even
template <class A>
struct Convert {
  static constexpr const char* name = "convert";
  const void* x;  // [n] floats of type `from`
  DType from;
  void* y;  // [n] floats of type `to`
  DType to;
  int64_t n;

  static Convert read(Call& c) {
    const auto x = c.input_of_any_type("x"), y = c.output_of_any_type("y");
    c.require(x.size == y.size, "as many elements, got " + describe(x.shape) + " and " + describe(y.shape));
    return {.x = x.data, .from = x.dtype, .y = y.data, .to = y.dtype, .n = x.size};
  }
};

}  // namespace bts
