#pragma once

#include "../call.h"

namespace bts {

// y += scale * x
template <class A>
struct AddScaled {
  static constexpr const char* name = "add_scaled";
  const float* x;  // [n]
  float* y;        // [n]
  float scale;
  int64_t n;

  static AddScaled read(Call& c) {
    return {.x = c.input<float>("x", "..."), .y = c.update<float>("y", "..."), .scale = c.f32("scale"), .n = c["..."]};
  }
};

}  // namespace bts
