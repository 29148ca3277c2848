// Cuts the work of an op into chunks for the thread pool. Where the cuts fall depends on the sizes alone, never on the
// number of threads, so a sum per chunk is the same sum on every machine.
#pragma once

#include <algorithm>
#include <cstdint>

#include "runtime/thread_pool.h"
#include "simd.h"

namespace bts::cpu::BTS_ISA {

// Elements: below this, waking a thread costs more than it saves.
constexpr int64_t kChunk = 1 << 14;

// Calls f(begin, end) for consecutive ranges of 0..count-1, where an item touches `cost` elements. A range holds as
// many items as make up kChunk elements, at least one; what fits one range stays on the calling thread.
template <class F>
void for_chunks(ThreadPool& pool, int64_t count, int64_t cost, F&& f) {
  const int64_t size = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, cost));
  pool.parallel_for((count + size - 1) / size,
                    [&](int64_t chunk, int) { f(chunk * size, std::min(count, (chunk + 1) * size)); });
}

// Calls f(i, lanes) for every vector of 0..n-1, in such ranges.
template <class F>
void for_elements(ThreadPool& pool, int64_t n, F&& f) {
  for_chunks(pool, n, 1, [&](int64_t begin, int64_t end) { for_vectors(begin, end, f); });
}

}  // namespace bts::cpu::BTS_ISA
