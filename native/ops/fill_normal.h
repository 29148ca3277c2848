#pragma once

#include "../call.h"

namespace bts {

// Normal deviates with the given standard deviation; element i depends on (seed, i) alone (see random.h).
template <class A>
struct FillNormal {
  static constexpr const char* name = "fill_normal";
  float* y;  // [n]
  float deviation;
  uint64_t seed;
  int64_t n;

  static FillNormal read(Call& c) {
    return {.y = c.output<float>("y", "..."), .deviation = c.f32("deviation"), .seed = c.seed("seed"), .n = c["..."]};
  }
};

}  // namespace bts
