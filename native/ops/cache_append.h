// New keys or values behind those of a cache.
#pragma once

#include "pages.h"

namespace bts {

// cache[m,b,starts[b]+t,:,:] = x[m,b,t,:,:], or where pages say that slot is
template <class A>
struct CacheAppend {
  static constexpr const char* name = "cache_append";
  const A* x;  // [M,B,T,K,D]
  A* cache;    // [M,B,S,K,D], or pages of a pool
  Pages pages;
  const int32_t* starts;  // [B], starts[b] + T <= S
  int64_t M, B, T, S, K, D;

  static CacheAppend read(Call& c) {
    return {.x = c.input<A>("x", "M B T K D"),
            .cache = c.update<A>("cache", Pages::shape(c)),
            .pages = Pages::read(c),
            .starts = c.starts("starts", "S"),
            .M = c["M"],
            .B = c["B"],
            .T = c["T"],
            .S = c["S"],
            .K = c["K"],
            .D = c["D"]};
  }
};

}  // namespace bts
