// Causal attention with grouped-query heads.
#pragma once

#include "../call.h"
#include "pages.h"
#include "softcap.h"

namespace bts {

struct AttentionSize {
  int64_t M, B, T, S, H, K, D;
  int64_t window;  // how many keys a query sees at most, itself included; 0: all of them
  float scale;     // of scores
  float softcap;   // scores s become softcap tanh(s / softcap); 0: they stay as they are

  static AttentionSize read(Call& c) {
    c.require(c["K"] > 0 && c["H"] > 0 && c["H"] % c["K"] == 0,
              "query heads that are a multiple of the key/value heads");
    return {c["M"],
            c["B"],
            c["T"],
            c["S"],
            c["H"],
            c["K"],
            c["D"],
            c.integer("window"),
            c.positive("scale"),
            c.cap_or_zero("softcap")};
  }
};

// out = softmax(capped(scale q k^T)) v; query t of sequence b stands at position p = starts[b] + t and sees the keys
// max(0, p - window + 1) .. p.
template <class A>
struct AttentionForward {
  static constexpr const char* name = "attention_forward";
  const A *q, *k, *v;  // q [M,B,T,H,D]  k, v [M,B,S,K,D], or pages of pools
  Pages pages;
  const int32_t* starts;  // [B], or null: all zero; starts[b] + T <= S
  A* out;                 // [M,B,T,H,D]
  float* lse;             // [M,B,H,T] log of the softmax's sum, or null
  AttentionSize size;

  static AttentionForward read(Call& c) {
    const char* cache = Pages::shape(c);
    return {.q = c.input<A>("q", "M B T H D"),
            .k = c.input<A>("k", cache),
            .v = c.input<A>("v", cache),
            .pages = Pages::read(c),
            .starts = c.starts_or_null("starts", "S"),
            .out = c.output<A>("out", "M B T H D"),
            .lse = c.output_or_null<float>("lse", "M B H T"),
            .size = AttentionSize::read(c)};
  }
};

// Of a forward with S = T and starts at zero. Probabilities are computed again from q, k and lse.
template <class A>
struct AttentionBackward {
  static constexpr const char* name = "attention_backward";
  const A *dout, *out;  // [M,B,T,H,D]
  const float* lse;     // [M,B,H,T]
  const A *q, *k, *v;   // q [M,B,T,H,D]  k, v [M,B,S,K,D]
  A *dq, *dk, *dv;
  AttentionSize size;

  static AttentionBackward read(Call& c) {
    AttentionBackward op{.dout = c.input<A>("dout", "M B T H D"),
                         .out = c.input<A>("out", "M B T H D"),
                         .lse = c.input<float>("lse", "M B H T"),
                         .q = c.input<A>("q", "M B T H D"),
                         .k = c.input<A>("k", "M B S K D"),
                         .v = c.input<A>("v", "M B S K D"),
                         .dq = c.output<A>("dq", "M B T H D"),
                         .dk = c.output<A>("dk", "M B S K D"),
                         .dv = c.output<A>("dv", "M B S K D"),
                         .size = AttentionSize::read(c)};
    c.require(op.size.S == op.size.T, "as many keys as queries");
    return op;
  }
};

}  // namespace bts
