// Softmax cross-entropy.
#pragma once

#include "../call.h"

namespace bts {

// losses[n] = logsumexp(logits[n,:]) - logits[n,targets[n]]; 0 where targets[n] < 0
template <class A>
struct CrossEntropyForward {
  static constexpr const char* name = "cross_entropy_forward";
  const A* logits;         // [N,V]
  const int32_t* targets;  // [N], each < V
  float* losses;           // [N]
  int64_t N, V;

  static CrossEntropyForward read(Call& c) {
    return {.logits = c.input<A>("logits", "N V"),
            .targets = c.tokens_or_negative("targets", "N", "V"),
            .losses = c.output<float>("losses", "N"),
            .N = c["N"],
            .V = c["V"]};
  }
};

// dlogits[n,:] = dlosses[n] * (softmax(logits[n,:]) - onehot(targets[n])); 0 where targets[n] < 0.
// Where the logits have a soft cap, the gradient is that of what they were before it: 1 - (logits / cap)^2 of it.
template <class A>
struct CrossEntropyBackward {
  static constexpr const char* name = "cross_entropy_backward";
  const float* dlosses;    // [N]
  const A* logits;         // [N,V]
  const int32_t* targets;  // [N], each < V
  A* dlogits;              // [N,V], may be logits
  int64_t N, V;
  float softcap;  // 0: none

  static CrossEntropyBackward read(Call& c) {
    return {.dlosses = c.input<float>("dlosses", "N"),
            .logits = c.input<A>("logits", "N V"),
            .targets = c.tokens_or_negative("targets", "N", "V"),
            .dlogits = c.output<A>("dlogits", "N V"),
            .N = c["N"],
            .V = c["V"],
            .softcap = c.cap_or_zero("softcap")};
  }
};

}  // namespace bts
