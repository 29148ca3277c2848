// Many arrays as one.
#pragma once

#include <algorithm>
#include <vector>

#include "../types.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

// Arrays laid end to end, so that chunks of one size cover many small and few large ones alike.
struct Sequence {
  std::vector<int64_t> starts{0};  // of each array, then the end

  explicit Sequence(Arrays arrays) {
    for (const Array& array : arrays) starts.push_back(starts.back() + array.size);
  }
  int64_t size() const { return starts.back(); }

  // Calls f(array, begin, end) for the piece of each array that lies in `from`..`to`-1 of the whole.
  template <class F>
  void for_pieces(int64_t from, int64_t to, F&& f) const {
    size_t array = std::upper_bound(starts.begin(), starts.end(), from) - starts.begin() - 1;
    for (; from < to; array++) {
      const int64_t stop = std::min(to, starts[array + 1]);
      f(array, from - starts[array], stop - starts[array]);
      from = stop;
    }
  }
};

}  // namespace bts::cpu::BTS_ISA
