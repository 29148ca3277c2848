#include "memory_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>

namespace bts {

namespace {

constexpr size_t kMapped = 4u << 20;  // blocks from here on are mapped on their own, in huge pages where there are any
constexpr size_t kChecked = 64u << 20;

// Eight classes to a power of two: at most an eighth of a block is wasted, and sizes meet again.
size_t size_class(size_t bytes) {
  if (bytes <= 512) return (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
  const size_t step = std::bit_floor(bytes - 1) / 8;
  return (bytes + step - 1) / step * step;
}

// What the kernel would grant without swapping; 0 where it does not say. Linux hands out more than it has and kills the
// process later, so large blocks ask first.
size_t available_bytes() {
  std::FILE* file = std::fopen("/proc/meminfo", "r");
  if (!file) return 0;
  char line[128];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof line, file))
    if (std::sscanf(line, "MemAvailable: %llu kB", &kib) == 1) break;
  std::fclose(file);
  return static_cast<size_t>(kib) << 10;
}

void* system_take(size_t bytes) {
  if (bytes < kMapped) return std::aligned_alloc(64, bytes);
  if (bytes >= kChecked) {
    const size_t available = available_bytes();
    if (available && bytes > available) return nullptr;
  }
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
  madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

void system_give(void* block, size_t bytes) {
  if (bytes < kMapped) std::free(block);
  else munmap(block, bytes);
}

}  // namespace

MemoryPool::~MemoryPool() { trim(); }

void* MemoryPool::take(size_t bytes) {
  bytes = size_class(bytes);
  void* block = nullptr;
  if (const auto found = cached_.find(bytes); found != cached_.end() && !found->second.empty()) {
    block = found->second.back();
    found->second.pop_back();
  } else {
    block = system_take(bytes);
    if (!block) return nullptr;
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
      system_give(block, bytes);
      statistics_.reserved -= bytes;
    }
  cached_.clear();
}

}  // namespace bts
