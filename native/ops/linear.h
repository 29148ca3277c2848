// Linear layers of all members.
#pragma once

#include "../call.h"

namespace bts {

// y_m = x_m (W_m + s_m B_m A_m)^T (+ bias_m) (+ residual_m), where s_m B_m A_m is what an adapter adds, if there is one: it is
// computed as s_m (x_m A_m^T) B_m^T. Members whose W_m is the same memory read it together.
template <class A>
struct LinearForward {
  static constexpr const char* name = "linear_forward";
  const A* x;                     // [M,N,I]
  std::vector<Weight> weight;     // W  M x [O,I]
  std::vector<Weight> bias;       // M x [O], or empty
  std::vector<LowRank> low_rank;  // M x s, A [R_m,I], B [O,R_m], or empty
  const A* residual;              // [M,N,O], or null; may be y itself
  A* y;                           // [M,N,O]
  int64_t N, I, O;
  bool alone;  // each row is the same whatever the others, if there are least_rows(true)

  static LinearForward read(Call& c) {
    return {.x = c.input<A>("x", "M N I"),
            .weight = c.matrices("weight", "M", "O I"),
            .bias = c.weights_or_none("bias", "M", "O"),
            .low_rank = c.low_ranks("M", "O", "I"),
            .residual = c.input_or_null<A>("residual", "M N O"),
            .y = c.output<A>("y", "M N O"),
            .N = c["N"],
            .I = c["I"],
            .O = c["O"],
            .alone = c.flag("alone")};
  }
};

// dx_m (+)= dy_m (W_m + s_m B_m A_m)
template <class A>
struct LinearBackwardInput {
  static constexpr const char* name = "linear_backward_input";
  const A* dy;                    // [M,N,O]
  std::vector<Weight> weight;     // M x [O,I]
  std::vector<LowRank> low_rank;  // as in the forward
  A* dx;                          // [M,N,I]
  int64_t N, I, O;
  bool accumulate;

  static LinearBackwardInput read(Call& c) {
    const bool accumulate = c.flag("accumulate");
    return {.dy = c.input<A>("dy", "M N O"),
            .weight = c.matrices("weight", "M", "O I"),
            .low_rank = c.low_ranks("M", "O", "I"),
            .dx = c.gradient<A>("dx", "M N I", accumulate),
            .N = c["N"],
            .I = c["I"],
            .O = c["O"],
            .accumulate = accumulate};
  }
};

// dW_m += dy_m^T x_m    dbias_m += sum over n of dy_m
template <class A>
struct LinearBackwardWeight {
  static constexpr const char* name = "linear_backward_weight";
  const A* dy;                  // [M,N,O]
  const A* x;                   // [M,N,I]
  std::vector<float*> dweight;  // M x [O,I]
  std::vector<float*> dbias;    // M x [O], or empty
  int64_t N, I, O;

  static LinearBackwardWeight read(Call& c) {
    return {.dy = c.input<A>("dy", "M N O"),
            .x = c.input<A>("x", "M N I"),
            .dweight = c.gradients("dweight", "M", "O I"),
            .dbias = c.gradients_or_none("dbias", "M", "O"),
            .N = c["N"],
            .I = c["I"],
            .O = c["O"]};
  }
};

}  // namespace bts
