#include "arena.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdlib>
#include <string>

#include "../../error.h"
#include "../../poison.h"

namespace bts::cpu {

namespace {

constexpr size_t kLine = 16;  // floats
constexpr size_t kHugePage = 2u << 20;
// Between pieces, where reading beyond one is to be seen.
constexpr size_t kGap = kPoisons ? kLine : 0;

// Large blocks lie in huge pages, where there are any: products walk through rows that are pages apart.
void* take(size_t bytes) {
  if (bytes < 2 * kHugePage) return std::aligned_alloc(64, bytes);
  const size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* block = std::aligned_alloc(kHugePage, whole);
#ifdef __linux__
  if (block) madvise(block, whole, MADV_HUGEPAGE);
#endif
  return block;
}

}  // namespace

Arena::~Arena() {
  for (auto& block : blocks_) std::free(block.data);
}

void Arena::reset() {
  used_ = 0;
  for (auto& block : blocks_) unpoison(block.data, block.floats * sizeof(float));
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
  const size_t rounded = (static_cast<size_t>(n) + kLine - 1) / kLine * kLine, taken = rounded + kGap;
  if (blocks_.empty() || used_ + taken > blocks_.back().floats) {
    blocks_.reserve(blocks_.size() + 1);
    auto* data = static_cast<float*>(take(std::max(taken, kLine) * sizeof(float)));
    if (!data)
      throw Error("OUT_OF_MEMORY", "no memory for " + std::to_string(rounded * sizeof(float)) + " bytes of scratch");
    blocks_.push_back({data, std::max(taken, kLine)});
    total_ += blocks_.back().floats;
    used_ = 0;
  }
  float* piece = blocks_.back().data + used_;
  used_ += taken;
  poison(piece + rounded, kGap * sizeof(float));
  return piece;
}

}  // namespace bts::cpu
