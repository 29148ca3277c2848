// What a rank is about to do, as it tells all others before any data moves: ranks that call something else, or that cannot take
// part, are found before they are waited for. Plain bytes, which every engine can carry.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

namespace bts {

// All ranks know that this call was not made, and may go on.
struct Refusal : std::runtime_error {
  using runtime_error::runtime_error;
};

struct Announcement {
  uint64_t number;  // of the call
  uint64_t tensors, bytes, shape;
  int32_t peer;  // the root, or the other rank; -1: none
  char name[16];
  char failure[404];  // why the rank cannot take part; empty: it can

  Announcement() = default;
  Announcement(uint64_t number, const char* name, int peer, const char* failure) : Announcement() {
    std::memset(static_cast<void*>(this), 0, sizeof *this);
    this->number = number;
    this->peer = peer;
    std::strncpy(this->name, name, sizeof this->name - 1);
    if (failure) std::strncpy(this->failure, failure, sizeof this->failure - 1);
  }

  // Multiplied by what is odd and has many bits, so that order and sizes all count.
  void add(uint64_t bytes, int elements) {
    tensors++;
    this->bytes += bytes;
    shape = (shape ^ (bytes * 4 + static_cast<uint64_t>(elements))) * 0x9e3779b97f4a7c15;
  }

  bool fits(const Announcement& other) const {
    return tensors == other.tensors && bytes == other.bytes && shape == other.shape;
  }

  std::string describe() const {
    return std::string(name) + (peer >= 0 ? " (root " + std::to_string(peer) + ")" : "") + " of " +
           std::to_string(tensors) + (tensors == 1 ? " tensor, " : " tensors, ") + std::to_string(bytes) + " bytes";
  }
};

// Those of all ranks, as each of them sees them and by what they are called: either all go on or none. Throws Refusal.
inline void expect_agreement(std::span<const Announcement> all, size_t me, std::span<const int> names) {
  const auto name = [&](size_t rank) { return "rank " + std::to_string(names[rank]); };
  for (size_t rank = 0; rank < all.size(); rank++)
    if (all[rank].failure[0]) throw Refusal(name(rank) + " cannot take part: " + all[rank].failure);
  const Announcement& mine = all[me];
  for (size_t rank = 0; rank < all.size(); rank++) {
    const Announcement& theirs = all[rank];
    if (theirs.fits(mine) && theirs.number == mine.number && theirs.peer == mine.peer &&
        std::strcmp(theirs.name, mine.name) == 0)
      continue;
    throw Refusal(name(rank) + " calls " + theirs.describe() + "; this rank calls " + mine.describe() +
                  (theirs.describe() == mine.describe() ? " in other pieces" : "") +
                  ". All ranks make the same calls in the same order, with tensors of the same shapes");
  }
}

}  // namespace bts
