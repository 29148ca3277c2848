#pragma once

#include "../call.h"
#include "../random.h"

namespace bts {

// Keeps element i iff word `first` + i of the seed (see random.h) is not below the rate; what is kept is scaled by 1 / (1 - rate).
struct Dropping {
  uint64_t seed;
  uint64_t first;  // elements of the same batch that come before, and are computed elsewhere
  uint64_t below;  // a word below this drops its element: rate 0 keeps all, rate 1 none
  float scale;     // of what is kept

  static Dropping read(Call& c, const char* rate) {
    return {c.rate(rate), c.seed("seed"), c.has("first") ? c.seed("first") : 0};
  }

  Dropping(float rate, uint64_t seed, uint64_t first)
      : seed(seed), first(first), below(uint64_t(double(rate) * 0x1p32)), scale(1 / (1 - rate)) {}

  // x as dropout leaves it, given the element's word. A dropped one is multiplied with 0, so that it stays NaN if it was.
  HOST_DEVICE float apply(float x, uint32_t word) const { return x * (word < below ? 0.0f : scale); }
};

// y = dropout(x); also the gradient, with dy for x
template <class A>
struct Dropout {
  static constexpr const char* name = "dropout";
  const A* x;  // [n]
  A* y;        // [n], may be x
  Dropping dropping;
  int64_t n;

  static Dropout read(Call& c) {
    return {.x = c.input<A>("x", "..."),
            .y = c.output<A>("y", "..."),
            .dropping = Dropping::read(c, "rate"),
            .n = c["..."]};
  }
};

}  // namespace bts
