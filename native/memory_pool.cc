#include "memory_pool.h"

#include <algorithm>
#include <iterator>

#include "poison.h"

namespace bts {

namespace {

constexpr size_t kSmall = 256u << 10;  // blocks from here on are large
constexpr size_t kSmallSegment = 2u << 20, kLeastSegment = 32u << 20, kMostSegment = 1024u << 20;

// Small blocks are whole lines, large ones whole pages.
size_t rounded(size_t bytes) {
  const size_t unit = bytes < kSmall ? 64 : 4096;
  return (std::max<size_t>(bytes, 1) + unit - 1) / unit * unit;
}

}  // namespace

MemoryPool::Heap& MemoryPool::heap_of(size_t bytes) { return bytes < kSmall ? small_ : large_; }

void* MemoryPool::take(size_t asked) {
  const size_t bytes = rounded(asked);
  Heap& heap = heap_of(bytes);
  auto found = heap.free.lower_bound({bytes, nullptr});
  if (found == heap.free.end()) {
    if (!grow(heap, bytes)) return nullptr;
    found = heap.free.lower_bound({bytes, nullptr});
  }
  char* block = found->second;
  Piece& piece = heap.pieces.at(block);
  if (const size_t rest = piece.bytes - bytes) {
    Free entry{{bytes, block}};
    heap.pieces.emplace(block + bytes, Piece{rest, 0, {}});
    // Nothing is allocated from here on: the piece's entry becomes that of the rest.
    auto of_rest = heap.free.extract(found);
    of_rest.value() = {rest, block + bytes};
    heap.free.insert(std::move(of_rest));
    piece.bytes = bytes;
    piece.entry = entry.extract(entry.begin());
  } else {
    piece.entry = heap.free.extract(found);
  }
  statistics_.live += bytes;
  statistics_.peak = std::max(statistics_.peak, statistics_.live);
  if (memory_.is_host()) unpoison(block, asked);
  return block;
}

// Takes a segment with room for a block. Segments grow with what is held, so that they are few; what is not touched of
// them costs nothing on a host. Where the system has less, the block alone is asked for.
bool MemoryPool::grow(Heap& heap, size_t bytes) {
  const size_t usual = &heap == &small_ ? kSmallSegment : std::clamp(statistics_.reserved, kLeastSegment, kMostSegment);
  for (const size_t size : {std::max(usual, bytes), bytes}) {
    auto* segment = static_cast<char*>(memory_.take(size, statistics_.reserved));
    if (!segment) continue;
    if (memory_.is_host()) poison(segment, size);
    try {
      Free entry{{size, segment}};
      heap.pieces.emplace(segment, Piece{size, size, {}});
      heap.free.merge(entry);
    } catch (const std::bad_alloc&) {
      give_segment(segment, size);
      throw;
    }
    statistics_.reserved += size;
    return true;
  }
  return false;
}

void MemoryPool::give(void* block) noexcept {
  auto in = [block](Heap& heap) { return heap.pieces.find(static_cast<char*>(block)); };
  Heap& heap = in(large_) != large_.pieces.end() ? large_ : small_;
  auto piece = in(heap);
  statistics_.live -= piece->second.bytes;
  heap.free.insert(std::move(piece->second.entry));
  if (memory_.is_host()) poison(block, piece->second.bytes);

  // Joins a piece to the one before it.
  const auto join = [&heap](auto piece) {
    const auto before = std::prev(piece);
    auto entry = heap.free.extract({before->second.bytes, before->first});
    heap.free.erase({piece->second.bytes, piece->first});
    before->second.bytes += piece->second.bytes;
    heap.pieces.erase(piece);
    entry.value().first = before->second.bytes;
    heap.free.insert(std::move(entry));
  };
  const auto joins = [&heap](auto piece) {
    return piece != heap.pieces.end() && piece->second.segment == 0 && piece->second.is_free() &&
           std::prev(piece)->second.is_free();
  };
  if (const auto next = std::next(piece); joins(next)) join(next);
  if (joins(piece)) join(piece);
}

void MemoryPool::give_segment(char* segment, size_t bytes) {
  if (memory_.is_host()) unpoison(segment, bytes);
  memory_.give(segment, bytes);
}

void MemoryPool::trim() {
  for (Heap* heap : {&small_, &large_})
    std::erase_if(heap->pieces, [&](const auto& entry) {
      const auto& [address, piece] = entry;
      if (!piece.is_free()) return false;
      if (piece.segment != piece.bytes) {
        memory_.discard(address, piece.bytes);
        return false;
      }
      heap->free.erase({piece.bytes, address});
      give_segment(address, piece.bytes);
      statistics_.reserved -= piece.bytes;
      return true;
    });
}

void MemoryPool::clear() {
  for (Heap* heap : {&small_, &large_}) {
    for (const auto& [address, piece] : heap->pieces)
      if (piece.segment) give_segment(address, piece.segment);
    *heap = {};
  }
  statistics_ = {};
}

}  // namespace bts
