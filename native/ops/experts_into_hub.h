#pragma once

#include "stitch.h"

namespace bts {

// Experts-into-Hub:
//   g = softmax over members of dropout(h_0 Wg^T + bg)    p_e = h_e Wp_e^T    hub = g_0 h_0 + sum over e of g_e p_e
template <class A>
struct ExpertsIntoHubForward {
  static constexpr const char* name = "experts_into_hub_forward";
  const A* h;                // [M,N,C]
  const float* gate_weight;  // Wg [M,G,C]
  const float* gate_bias;    // bg [M,G], or null
  std::vector<Weight> proj;  // Wp  E x [C,C]
  A* hub;                    // [1,N,C]
  A* gates;                  // g [N,M,G], which the backward reads
  A* projected;              // p [E,N,C], which the backward reads
  StitchSize size;

  static ExpertsIntoHubForward read(Call& c) {
    return {.h = c.input<A>("h", "M N C"),
            .gate_weight = c.input<float>("gateWeight", "M G C"),
            .gate_bias = c.input_or_null<float>("gateBias", "M G"),
            .proj = c.weights("proj", "E", "C C"),
            .hub = c.output<A>("hub", "1 N C"),
            .gates = c.output<A>("gates", "N M G"),
            .projected = c.output<A>("projected", "E N C"),
            .size = StitchSize::read(c)};
  }
};

template <class A>
struct ExpertsIntoHubBackward {
  static constexpr const char* name = "experts_into_hub_backward";
  const A* dhub;              // [1,N,C]
  const A* dprojected;        // [E,N,C]: what reaches the experts' streams where they continue as p_e; or null: zero
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

  static ExpertsIntoHubBackward read(Call& c) {
    return {.dhub = c.input<A>("dhub", "1 N C"),
            .dprojected = c.input_or_null<A>("dprojected", "E N C"),
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
