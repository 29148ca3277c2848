// Rows of the members' embedding tables.
#pragma once

#include "../call.h"

namespace bts {

// y[m,n,:] = scale table_m[ids[n],:], the scale rounded to A
template <class A>
struct EmbeddingForward {
  static constexpr const char* name = "embedding_forward";
  std::vector<Weight> table;  // M x [V,C]
  const int32_t* ids;         // [N], each in 0..V-1
  A* y;                       // [M,N,C]
  int64_t N, V, C;
  float scale;

  static EmbeddingForward read(Call& c) {
    return {.table = c.weights("table", "M", "V C"),
            .ids = c.tokens("ids", "N", "V"),
            .y = c.output<A>("y", "M N C"),
            .N = c["N"],
            .V = c["V"],
            .C = c["C"],
            .scale = c.f32("scale")};
  }
};

// dtable_m[ids[n],:] += scale dy[m,n,:]
template <class A>
struct EmbeddingBackward {
  static constexpr const char* name = "embedding_backward";
  const A* dy;                 // [M,N,C]
  std::vector<float*> dtable;  // M x [V,C]
  const int32_t* ids;          // [N], each in 0..V-1
  int64_t N, V, C;
  float scale;

  static EmbeddingBackward read(Call& c) {
    return {.dy = c.input<A>("dy", "M N C"),
            .dtable = c.gradients("dtable", "M", "V C"),
            .ids = c.tokens("ids", "N", "V"),
            .N = c["N"],
            .V = c["V"],
            .C = c["C"],
            .scale = c.f32("scale")};
  }
};

}  // namespace bts
