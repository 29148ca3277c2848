#pragma once

#include "../call.h"

namespace bts {

// y[0] = scale * sum of x, in f64
template <class A>
struct SumForward {
  static constexpr const char* name = "sum_forward";
  const float* x;  // [N]
  float* y;        // [1]
  float scale;
  int64_t N;

  static SumForward read(Call& c) {
    return {.x = c.input<float>("x", "N"), .y = c.output<float>("y", "1"), .scale = c.f32("scale"), .N = c["N"]};
  }
};

// dx[i] = scale * dy[0]
template <class A>
struct SumBackward {
  static constexpr const char* name = "sum_backward";
  const float* dy;  // [1]
  float* dx;        // [N]
  float scale;
  int64_t N;

  static SumBackward read(Call& c) {
    return {.dy = c.input<float>("dy", "1"), .dx = c.output<float>("dx", "N"), .scale = c.f32("scale"), .N = c["N"]};
  }
};

}  // namespace bts
