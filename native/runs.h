// Members that share a matrix.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "types.h"

namespace bts {

// Members first..first+count-1, whose rows lie one behind the other and pass by the same matrix.
struct Run {
  int64_t first, count;
};

// All members, in order: neighbours are one run, of at most `most` members, where they hold the same memory in every list.
// Lists may be empty.
inline std::vector<Run> runs(int64_t members, int64_t most, std::initializer_list<Weights> lists) {
  std::vector<Run> all;
  for (int64_t m = 0; m < members; m++) {
    const bool same =
        !all.empty() && all.back().count < most &&
        std::all_of(
            lists.begin(), lists.end(),
            [&](Weights list) {
              return list.empty() || (list[m].data == list[m - 1].data && list[m].dtype == list[m - 1].dtype);
            });
    if (same) all.back().count++;
    else all.push_back({m, 1});
  }
  return all;
}

}  // namespace bts
