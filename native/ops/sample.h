// Tokens drawn from logits.
#pragma once

#include <cmath>

#include "../call.h"

namespace bts {

// How a token is drawn from one row of logits.
struct Draw {
  double temperature;         // 0: the likeliest token
  int64_t top_k;              // 0: all tokens
  double top_p;               // in (0, 1]; 1: all
  double min_p;               // in [0, 1]; 0: all
  double repetition_penalty;  // positive; 1: none
  double uniform;             // in [0, 1): the random number

  // Six numbers for each of N rows, in the order of the struct.
  static std::vector<Draw> read(Call& c, const char* name) {
    const auto numbers = c.numbers(name);
    c.require(numbers.size() == static_cast<size_t>(6 * c["N"]),
              std::string("six numbers in '") + name + "' for each row");
    std::vector<Draw> draws;
    for (size_t i = 0; i < numbers.size(); i += 6) {
      const double* x = &numbers[i];
      const bool good = x[0] >= 0 && std::isfinite(x[0]) && x[1] >= 0 && x[1] <= 0x1p53 && x[2] > 0 && x[2] <= 1 &&
                        x[3] >= 0 && x[3] <= 1 && x[4] > 0 && std::isfinite(x[4]) && x[5] >= 0 && x[5] < 1;
      if (!good) c.refuse("numbers in row " + std::to_string(i / 6) + " of '" + name + "' are out of range");
      draws.push_back({x[0], static_cast<int64_t>(x[1]), x[2], x[3], x[4], x[5]});
    }
    return draws;
  }
};

// ids[n] is drawn from logits[n,:] as draws[n] says; -1 where a logit is NaN or the largest not finite.
// s = logits, but those of the row's `seen` ids divided (below zero: multiplied) by the penalty
// w = exp((s - max s) / temperature). Tokens stand in falling order of s, equals in that of their ids: kept are the first
// top_k; of these the fewest whose w reach top_p of these tokens' sum; of these, those with w >= min_p.
// ids[n] is the first kept id at which the sum of kept w so far exceeds `uniform` of the whole sum.
template <class A>
struct Sample {
  static constexpr const char* name = "sample";
  Weight logits;        // [N,V] f32 or A
  const int32_t* seen;  // [N,S] ids, none twice in a row, negative ones do not count; null where S = 0
  int32_t* ids;         // [N]
  std::vector<Draw> draws;
  int64_t N, V, S;

  static Sample read(Call& c) {
    Sample op{.logits = c.input_f32_or<A>("logits", "N V"),
              .seen = c.tokens_or_negative_or_null("seen", "N S", "V"),
              .ids = c.integers_out("ids", "N"),
              .draws = Draw::read(c, "draws"),
              .N = c["N"],
              .V = c["V"],
              .S = 0};
    if (op.seen) op.S = c["S"];
    return op;
  }
};

}  // namespace bts
