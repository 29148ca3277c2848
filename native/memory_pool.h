#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "backend.h"

namespace bts {

// Memory of one device. It is taken from the backend in segments, of which blocks are cut: the smallest free piece that is
// large enough serves, and neighbours that are free become one again, so that tensors of all sizes share what there is.
// Blocks may be given back while queued work still reads them: whoever takes them next queues behind that work. One
// thread only.
class MemoryPool {
 public:
  struct Statistics {
    size_t live;      // handed out now
    size_t peak;      // most that was ever handed out at once
    size_t reserved;  // held from the system: live and free
  };

  // `memory` must outlive the pool.
  explicit MemoryPool(Memory& memory) : memory_(memory) {}
  ~MemoryPool() { clear(); }
  MemoryPool(const MemoryPool&) = delete;
  MemoryPool& operator=(const MemoryPool&) = delete;

  // 64-byte aligned, uninitialised; null where the system has no more. Throws std::bad_alloc, nothing being taken.
  void* take(size_t bytes);
  // Never throws: what it needs to note the block as free was put aside when the block was taken.
  void give(void* block) noexcept;
  // Returns what is free to the system: segments of which nothing is in use, and the pages of what is free in others.
  // No queued work may still use it.
  void trim();
  // Returns everything to the system. What was handed out must neither be used nor given back any more.
  void clear();
  void reset_peak() { statistics_.peak = statistics_.live; }
  const Statistics& statistics() const { return statistics_; }

 private:
  using Free = std::set<std::pair<size_t, char*>>;  // by size, then by address
  // A piece of a segment; its neighbours are those of the map, up to where the segment begins and ends.
  struct Piece {
    size_t bytes;
    size_t segment;         // of a segment's first piece: the bytes of the whole; else 0
    Free::node_type entry;  // its entry among those that are free, while it is in use

    bool is_free() const { return entry.empty(); }
  };
  // Small blocks, which tend to stay, do not lie between large ones.
  struct Heap {
    std::map<char*, Piece> pieces;
    Free free;
  };

  Heap& heap_of(size_t bytes);
  bool grow(Heap& heap, size_t bytes);
  void give_segment(char* segment, size_t bytes);

  Memory& memory_;
  Heap small_, large_;
  Statistics statistics_{};
};

}  // namespace bts
