#include "memory_pool.h"

#include <algorithm>
#include <bit>

namespace bts {

namespace {

// Eight classes to a power of two: at most an eighth of a block is wasted, and sizes meet again.
size_t size_class(size_t bytes) {
  if (bytes <= 512) return (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

}  // namespace

void* MemoryPool::take(size_t bytes) {
  bytes = size_class(bytes);
  void* block = nullptr;
  if (const auto found = cached_.find(bytes); found != cached_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
  } else {
    block = memory_.take(bytes, statistics_.reserved);
    if (!block) return nullptr;
    blocks_.emplace(block, bytes);
    statistics_.reserved += bytes;
  }
  statistics_.live += bytes;
  statistics_.peak = std::max(statistics_.peak, statistics_.live);
  return block;
}

void MemoryPool::give(void* block, size_t bytes) {
  bytes = size_class(bytes);
  cached_[bytes].push_back(block);
  statistics_.live -= bytes;
}

void MemoryPool::trim() {
  for (auto& [bytes, blocks] : cached_)
    for (void* block : blocks) {
      memory_.give(block, bytes);
      blocks_.erase(block);
      statistics_.reserved -= bytes;
    }
  cached_.clear();
}

void MemoryPool::clear() {
  for (const auto& [block, bytes] : blocks_) memory_.give(block, bytes);
  blocks_.clear();
  cached_.clear();
  statistics_ = {};
}

}  // namespace bts
