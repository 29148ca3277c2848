#pragma once

#include "stitch.h"

namespace bts {

// Hub-into-Experts:
//   g = sigmoid(dropout(h_0 Wg^T + bg))    p_e = h_0 Wp_e^T    out_0 = h_0    out_e = (1 - g_e) h_e + g_e p_e
template <class A>
struct HubIntoExpertsForward {
  static constexpr const char* name = "hub_into_experts_forward";
  const A* h;                // [M,N,C]
  const float* gate_weight;  // Wg [M,G,C]
  const float* gate_bias;    // bg [M,G], or null
  std::vector<Weight> proj;  // Wp  E x [C,C]
  A* out;                    // [M,N,C]
  A* gates;                  // g [N,M,G], which the backward reads; slot 0 is left zero
  A* projected;              // p [E,N,C], which the backward reads
  StitchSize size;

  static HubIntoExpertsForward read(Call& c) {
    return {.h = c.input<A>("h", "M N C"),
            .gate_weight = c.input<float>("gateWeight", "M G C"),
            .gate_bias = c.input_or_null<float>("gateBias", "M G"),
            .proj = c.weights("proj", "E", "C C"),
            .out = c.output<A>("out", "M N C"),
            .gates = c.output<A>("gates", "N M G"),
            .projected = c.output<A>("projected", "E N C"),
            .size = StitchSize::read(c)};
  }
};

template <class A>
struct HubIntoExpertsBackward {
  static constexpr const char* name = "hub_into_experts_backward";
  const A* dout;              // [M,N,C]
  const A* h;                 // [M,N,C]
  const A* gates;             // [N,M,G]
  const A* projected;         // [E,N,C]
  const float* gate_weight;   // [M,G,C]
  std::vector<Weight> proj;   // E x [C,C]
  A* dh;                      // [M,N,C], overwritten; null where nothing below needs it
  float* dgate_weight;        // [M,G,C]
  float* dgate_bias;          // [M,G], or null
  std::vector<float*> dproj;  // E x [C,C]
  StitchSize size;

  static HubIntoExpertsBackward read(Call& c) {
    return {.dout = c.input<A>("dout", "M N C"),
            .h = c.input<A>("h", "M N C"),
            .gates = c.input<A>("gates", "N M G"),
            .projected = c.input<A>("projected", "E N C"),
            .gate_weight = c.input<float>("gateWeight", "M G C"),
            .proj = c.weights("proj", "E", "C C"),
            .dh = c.output_or_null<A>("dh", "M N C"),
            .dgate_weight = c.update<float>("dgateWeight", "M G C"),
            .dgate_bias = c.update_or_null<float>("dgateBias", "M G"),
            .dproj = c.gradients("dproj", "E", "C C"),
            .size = StitchSize::read(c)};
  }
};

}  // namespace bts
