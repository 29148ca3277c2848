// The sum over members, each with one gate for a row, as a router gives them: how a mixture of experts combines its experts.
#pragma once

#include "../call.h"

namespace bts {

struct GatedSumSize {
  int64_t M, N, C;
  int64_t keep;       // of the M weights of a row only the largest are kept, the first among equals
  float temperature;  // 0: the limit, all weight on the largest

  static GatedSumSize read(Call& c) {
    const GatedSumSize size{c["M"], c["N"], c["C"], c.integer("keep"), c.f32("temperature")};
    if (!(size.keep >= 1 && size.keep <= size.M)) c.refuse("'keep' must lie in 1.." + std::to_string(size.M));
    if (!(size.temperature >= 0)) c.refuse("'temperature' must not be negative");
    return size;
  }
};

// s = softmax over m of logits[n,m] / temperature;  g[n,m] = s[n,m] if it is among the row's `keep` largest, else 0
// y[n,:] = sum over m of g[n,m] x[m,n,:] (+ residual[n,:])
template <class A>
struct GatedSumForward {
  static constexpr const char* name = "gated_sum_forward";
  const A* x;         // [M,N,C]
  const A* logits;    // [N,M]
  const A* residual;  // [N,C], or null
  A* y;               // [N,C]
  A* gates;           // g [N,M]
  GatedSumSize size;

  static GatedSumForward read(Call& c) {
    return {.x = c.input<A>("x", "M N C"),
            .logits = c.input<A>("logits", "N M"),
            .residual = c.input_or_null<A>("residual", "N C"),
            .y = c.output<A>("y", "N C"),
            .gates = c.output<A>("gates", "N M"),
            .size = GatedSumSize::read(c)};
  }
};

// dx[m,n,:] = g[n,m] dy[n,:]    dg[n,m] = dy[n,:] . x[m,n,:] where g is kept, else 0
// dlogits[n,m] = (s[n,m] dg[n,m] - s[n,m] sum over j of s[n,j] dg[n,j]) / temperature; 0 at temperature 0
template <class A>
struct GatedSumBackward {
  static constexpr const char* name = "gated_sum_backward";
  const A* dy;      // [N,C]
  const A* x;       // [M,N,C]
  const A* logits;  // [N,M]
  A* dx;            // [M,N,C]
  A* dlogits;       // [N,M]
  GatedSumSize size;

  static GatedSumBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "N C"),
            .x = c.input<A>("x", "M N C"),
            .logits = c.input<A>("logits", "N M"),
            .dx = c.output<A>("dx", "M N C"),
            .dlogits = c.output<A>("dlogits", "N M"),
            .size = GatedSumSize::read(c)};
  }
};

}  // namespace bts
