// Checks of what only the data can show. They run before any work, so a failed op has written nothing. The queue adds
// the op's name to the message.
#pragma once

#include <cstdint>
#include <string>

#include "../error.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

// Throws `code` for the first index outside 0..limit-1.
inline void check_indices(const char* code, const char* name, const int32_t* indices, int64_t n, int64_t limit) {
  for (int64_t i = 0; i < n; i++) {
    if (indices[i] >= 0 && indices[i] < limit) continue;
    throw Error(code, std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(indices[i]) +
                          ", which must lie in 0.." + std::to_string(limit - 1));
  }
}

// Throws BAD_SHAPE for the first sequence whose T tokens, from starts[b] on, do not all lie in 0..limit-1.
inline void check_positions(const int32_t* starts, int64_t B, int64_t T, int64_t limit) {
  for (int64_t b = 0; b < B; b++) {
    const int64_t start = starts ? starts[b] : 0;
    if (start >= 0 && start + T <= limit) continue;
    throw Error("BAD_SHAPE", "sequence " + std::to_string(b) + " has " + std::to_string(T) + " tokens from position " +
                                 std::to_string(start) + " on, which must lie in 0.." + std::to_string(limit - 1));
  }
}

}  // namespace bts::cpu::BTS_ISA
