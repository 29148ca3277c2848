#pragma once

#include "../call.h"

namespace bts {

// norm[0] = square root of the sum of all squares, in f64
template <class A>
struct GlobalNorm {
  static constexpr const char* name = "global_norm";
  std::vector<Array> gradients;
  float* norm;  // [1]

  static GlobalNorm read(Call& c) { return {.gradients = c.arrays("gradients"), .norm = c.output<float>("norm", "1")}; }
};

}  // namespace bts
