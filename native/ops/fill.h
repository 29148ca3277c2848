#pragma once

#include "../call.h"

namespace bts {

// y = value
template <class A>
struct Fill {
  static constexpr const char* name = "fill";
  float* y;  // [n]
  float value;
  int64_t n;

  static Fill read(Call& c) { return {.y = c.output<float>("y", "..."), .value = c.f32("value"), .n = c["..."]}; }
};

}  // namespace bts
