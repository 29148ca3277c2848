// Matrices in 8 and 4 bits: how they are made, and what they stand for.
#pragma once

#include "../call.h"
#include "../quantized.h"

namespace bts {

// y = x in the groups of the type of y (quantized.h), whose codes and scales make the squared difference small. A number of x
// that is not finite is a fault of y.
template <class A>
struct Quantize {
  static constexpr const char* name = "quantize";
  Weight x;  // [O,I] floats of any type
  void* y;   // [O,I] in groups of type `to`
  DType to;
  int64_t O, I;

  static Quantize read(Call& c) {
    const auto x = c.input_of_any_type("x"), y = c.quantized_output("y");
    c.require(x.shape == y.shape, "one shape, got " + describe(x.shape) + " and " + describe(y.shape));
    return {.x = {x.data, x.dtype}, .y = y.data, .to = y.dtype, .O = x.shape[0], .I = x.shape[1]};
  }
};

// y = what x stands for
template <class A>
struct Dequantize {
  static constexpr const char* name = "dequantize";
  Weight x;  // [O,I] in groups
  float* y;  // [O,I]
  int64_t O, I;

  static Dequantize read(Call& c) {
    const auto x = c.quantized_input("x");
    auto* y = c.output<float>("y", "O I");
    c.require(x.shape[0] == c["O"] && x.shape[1] == c["I"], "'x' to have the shape of 'y', got " + describe(x.shape));
    return {.x = {x.data, x.dtype}, .y = y, .O = c["O"], .I = c["I"]};
  }
};

}  // namespace bts
