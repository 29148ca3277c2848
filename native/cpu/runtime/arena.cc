#include "arena.h"

#include <cstdlib>
#include <string>

#include "../../error.h"

namespace bts::cpu {

Arena::~Arena() {
  for (auto& block : blocks_) std::free(block.data);
}

void Arena::reset() {
  used_ = 0;
  if (blocks_.size() <= 1) return;
  // The last op needed several blocks; the next one gets their sum in one piece.
  const size_t total = total_;
  for (auto& block : blocks_) std::free(block.data);
  blocks_.clear();
  total_ = 0;
  floats(static_cast<int64_t>(total));
  used_ = 0;
}

float* Arena::floats(int64_t n) {
  const size_t rounded = (static_cast<size_t>(n) + 15) / 16 * 16;
  if (blocks_.empty() || used_ + rounded > blocks_.back().floats) {
    blocks_.reserve(blocks_.size() + 1);
    auto* data = static_cast<float*>(std::aligned_alloc(64, (rounded ? rounded : 16) * sizeof(float)));
    if (!data)
      throw Error("OUT_OF_MEMORY", "no memory for " + std::to_string(rounded * sizeof(float)) + " bytes of scratch");
    blocks_.push_back({data, rounded ? rounded : 16});
    total_ += blocks_.back().floats;
    used_ = 0;
  }
  float* piece = blocks_.back().data + used_;
  used_ += rounded;
  return piece;
}

}  // namespace bts::cpu
