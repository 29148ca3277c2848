// Rotary position embedding of the first R channels of each head, half-split pairs (i, i + R/2); the others stay.
#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

// Token t of sequence b stands at position p = starts[b] + t, and its pairs (low, high) become
//   low cos - high sin    high cos + low sin      of the R/2 angles at p
// `inverse` turns the other way: that is the gradient.
template <class A>
struct Rope {
  static constexpr const char* name = "rope";
  const A* x;                 // [M,B,T,H,D]
  std::vector<Weight> table;  // M x [P,R], f32: cosines of the R/2 angles, then sines
  const int32_t* starts;      // [B], or null: all zero; starts[b] + T <= P
  A* y;                       // [M,B,T,H,D], may be x
  int64_t B, T, H, D, R;
  bool inverse;

  static Rope read(Call& c) {
    const A* x = c.input<A>("x", "M B T H D");
    auto table = c.weights("table", "M", "P R");
    for (const Weight& weight : table) c.require(weight.dtype == DType::F32, "f32 in 'table'");
    c.require(c["R"] % 2 == 0 && c["R"] <= c["D"], "a table of an even width, that of heads at most");
    return {.x = x,
            .table = std::move(table),
            .starts = c.starts_or_null("starts", "P"),
            .y = c.output<A>("y", "M B T H D"),
            .B = c["B"],
            .T = c["T"],
            .H = c["H"],
            .D = c["D"],
            .R = c["R"],
            .inverse = c.flag("inverse")};
  }
};

// Both halves of a pair, or of a vector of pairs, as they are turned.
template <class T>
HOST_DEVICE T turned_low(T low, T high, T cosine, T sine) {
  return low * cosine - high * sine;
}
template <class T>
HOST_DEVICE T turned_high(T low, T high, T cosine, T sine) {
  return high * cosine + low * sine;
}

}  // namespace bts
