// Loops over one axis of arrays [L,M,R], the one in the middle.
#pragma once

#include "chunks.h"

namespace bts::cpu::BTS_ISA {

// Calls f(i, lanes) for vectors of columns: i is where their first entries lie, the next ones lie R elements further each.
template <class F>
void for_columns(ThreadPool& pool, int64_t L, int64_t M, int64_t R, F&& f) {
  for_chunks(pool, L * R, M, [&](int64_t begin, int64_t end) {
    while (begin < end) {
      const int64_t l = begin / R, r = begin % R, stop = std::min(R, r + end - begin);
      for_vectors(l * M * R + r, l * M * R + stop, f);
      begin += stop - r;
    }
  });
}

}  // namespace bts::cpu::BTS_ISA
