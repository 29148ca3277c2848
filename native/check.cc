#include "check.h"

namespace bts {

void check_indices(const char* code, const char* name, const Integers& indices, int64_t limit) {
  for (int64_t i = 0; i < indices.size(); i++) {
    if (indices[i] >= 0 && indices[i] < limit) continue;
    throw Error(code, std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(indices[i]) +
                          ", which must lie in 0.." + std::to_string(limit - 1));
  }
}

void check_below(const char* code, const Integers& ids, const char* name, int64_t limit) {
  for (int64_t n = 0; n < ids.size(); n++) {
    if (ids[n] < limit) continue;
    throw Error(code, std::string(name) + "[" + std::to_string(n) + "] is " + std::to_string(ids[n]) +
                          ", which must lie in 0.." + std::to_string(limit - 1) +
                          " or be negative where it does not count");
  }
}

void check_positions(const Integers& starts, int64_t B, int64_t T, int64_t limit) {
  for (int64_t b = 0; b < B; b++) {
    const int64_t start = starts ? starts[b] : 0;
    if (start >= 0 && start + T <= limit) continue;
    throw Error("BAD_SHAPE", "sequence " + std::to_string(b) + " has " + std::to_string(T) + " tokens from position " +
                                 std::to_string(start) + " on, which must lie in 0.." + std::to_string(limit - 1));
  }
}

}  // namespace bts
