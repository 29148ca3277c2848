// Root mean square norm.
#pragma once

#include "../call.h"

namespace bts {

// y = x r (offset + w_m) (+ residual) with r = 1 / sqrt(mean(x^2) + epsilon)
template <class A>
struct RmsNormForward {
  static constexpr const char* name = "rms_norm_forward";
  const A* x;                  // [M,N,C]
  std::vector<Weight> weight;  // w  M x [C]
  const A* residual;           // [M,N,C], or null
  A* y;                        // [M,N,C], may be the residual
  int64_t N, C;
  float epsilon, offset;

  static RmsNormForward read(Call& c) {
    return {.x = c.input<A>("x", "M N C"),
            .weight = c.weights("weight", "M", "C"),
            .residual = c.input_or_null<A>("residual", "M N C"),
            .y = c.output<A>("y", "M N C"),
            .N = c["N"],
            .C = c["C"],
            .epsilon = c.f32("epsilon"),
            .offset = c.f32("offset")};
  }
};

// dx (+)= r * (dy w - x r^2 mean(dy w x)), w with its offset
template <class A>
struct RmsNormBackwardInput {
  static constexpr const char* name = "rms_norm_backward_input";
  const A* dy;                 // [M,N,C]
  const A* x;                  // [M,N,C]
  std::vector<Weight> weight;  // M x [C]
  A* dx;                       // [M,N,C]
  int64_t N, C;
  float epsilon, offset;
  bool accumulate;

  static RmsNormBackwardInput read(Call& c) {
    const bool accumulate = c.flag("accumulate");
    return {.dy = c.input<A>("dy", "M N C"),
            .x = c.input<A>("x", "M N C"),
            .weight = c.weights("weight", "M", "C"),
            .dx = c.gradient<A>("dx", "M N C", accumulate),
            .N = c["N"],
            .C = c["C"],
            .epsilon = c.f32("epsilon"),
            .offset = c.f32("offset"),
            .accumulate = accumulate};
  }
};

// dw_m += sum over n of dy x r
template <class A>
struct RmsNormBackwardWeight {
  static constexpr const char* name = "rms_norm_backward_weight";
  const A* dy;                  // [M,N,C]
  const A* x;                   // [M,N,C]
  std::vector<float*> dweight;  // M x [C]
  int64_t N, C;
  float epsilon;

  static RmsNormBackwardWeight read(Call& c) {
    return {.dy = c.input<A>("dy", "M N C"),
            .x = c.input<A>("x", "M N C"),
            .dweight = c.gradients("dweight", "M", "C"),
            .N = c["N"],
            .C = c["C"],
            .epsilon = c.f32("epsilon")};
  }
};

}  // namespace bts
