#pragma once

#include <cstddef>
#include <map>
#include <unordered_map>
#include <vector>

#include "backend.h"

namespace bts {

// Memory of one device, taken from its backend, handed out in size classes and kept for reuse. Blocks may be given back while queued work
// still reads them: whoever takes them next queues behind that work. One thread only.
class MemoryPool {
 public:
  struct Statistics {
    size_t live;      // handed out now
    size_t peak;      // most that was ever handed out at once
    size_t reserved;  // held from the system: live and cached
  };

  // `memory` must outlive the pool.
  explicit MemoryPool(Memory& memory) : memory_(memory) {}
  ~MemoryPool() { clear(); }
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // 64-byte aligned, uninitialised; null where the system has no more.
  void* take(size_t bytes);
  void give(void* block, size_t bytes);
  // Returns what is cached to the system. No queued work may still use it.
  void trim();
  // Returns everything to the system. What was handed out must neither be used nor given back any more.
  void clear();
  void reset_peak() { statistics_.peak = statistics_.live; }
  const Statistics& statistics() const { return statistics_; }

 private:
  Memory& memory_;
  std::map<size_t, std::vector<void*>> cached_;
  std::unordered_map<void*, size_t> blocks_;  // all that are held from the system, with their sizes
  Statistics statistics_{};
};

}  // namespace bts
