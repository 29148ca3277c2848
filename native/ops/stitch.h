// What both stitch layers (the paper's section 3) share: member 0 is the hub, expert e is member e + 1.
#pragma once

#include "../call.h"
#include "dropout.h"

namespace bts {

struct StitchSize {
  int64_t M, N, C, G;
  Dropping dropout;  // on the gate logits
  bool alone;        // as in linear.h; absent in a backward

  static StitchSize read(Call& c) {
    c.require(c["G"] == c["C"] || c["G"] == 1, "a gate width of C or 1");
    c.require(c["E"] == c["M"] - 1, "one projection for each expert");
    return {c["M"], c["N"], c["C"], c["G"], Dropping::read(c, "dropout"), c.flag("alone")};
  }
};

}  // namespace bts
