// Both products of a gated feed-forward layer and their activation. It has no backward: where gradients are wanted, the ops
// run that it is made of (linear.h, swiglu.h).
#pragma once

#include "swiglu.h"

namespace bts {

// y_m = act(x_m Wg_m^T + bg_m) * (x_m Wu_m^T + bu_m), of which only y is written.
template <class A>
struct SwigluLinear {
  static constexpr const char* name = "swiglu_linear";
  const A* x;                              // [M,N,C]
  std::vector<Weight> gate, up;            // Wg, Wu  M x [F,C]
  std::vector<Weight> gate_bias, up_bias;  // bg, bu  M x [F], or empty
  A* y;                                    // [M,N,F]
  int64_t N, C, F;
  Activation act;
  bool alone;  // as in linear.h

  static SwigluLinear read(Call& c) {
    return {.x = c.input<A>("x", "M N C"),
            .gate = c.matrices("gate", "M", "F C"),
            .up = c.matrices("up", "M", "F C"),
            .gate_bias = c.weights_or_none("gateBias", "M", "F"),
            .up_bias = c.weights_or_none("upBias", "M", "F"),
            .y = c.output<A>("y", "M N F"),
            .N = c["N"],
            .C = c["C"],
            .F = c["F"],
            .act = activation(c),
            .alone = c.flag("alone")};
  }
};

}  // namespace bts
