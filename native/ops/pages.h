// Caches of keys or values: one array, or pages of a pool that sequences share.
#pragma once

#include "../call.h"
#include "../host_device.h"

namespace bts {

constexpr int64_t kPageTokens = 64;

// A cache [M,B,S,K,D]; or, where a table of pages [M,B,P] is given, a pool [Q,64,K,D], whose pages a sequence has as slots
// 0..63, 64..127 and so on. A negative page is none: what is appended there is dropped, what is read there means nothing.
struct Pages {
  const int32_t* table;  // [M,B,P], or null: the cache is one array
  int64_t P, Q;

  // Makes the word S the slots of a sequence.
  static Pages read(Call& c) {
    if (!c.has("pages")) return {nullptr, 0, 0};
    const int32_t* table = c.indices_or_negative("pages", "M B P", "Q");
    c.require(c["R"] == kPageTokens, "pages of " + std::to_string(kPageTokens) + " tokens");
    c.define("S", c["P"] * kPageTokens);
    return {table, c["P"], c["Q"]};
  }
  // The shape of the cache, as an argument tells it.
  static const char* shape(Call& c) { return c.has("pages") ? "Q R K D" : "M B S K D"; }
};

// Where slot s of a sequence (of S slots; m B + b) is in the cache, in slots; negative: nowhere.
HOST_DEVICE int64_t slot_of(const Pages& pages, int64_t sequence, int64_t S, int64_t s) {
  if (!pages.table) return sequence * S + s;
  const int64_t page = pages.table[sequence * pages.P + s / kPageTokens];
  return page < 0 ? -1 : page * kPageTokens + s % kPageTokens;
}

}  // namespace bts
