// Many arrays of all sizes are computed by few launches: each takes a list of arrays and cuts them into chunks.
#pragma once

#include <algorithm>

#include "vectors.cuh"

namespace bts::cuda {

constexpr int kArrays = 48;                // that one launch takes: their list fits the 4 KiB of a kernel's arguments
constexpr int64_t kChunk = 64 * kThreads;  // elements that one block works on
constexpr int kQuad = 4;                   // f32 of a wide access

struct Chunk {
  int array;
  int64_t begin;
  int size;
};

// `count` arrays, each cut into chunks of its own.
struct Cut {
  int count = 0;
  int first_chunk[kArrays + 1] = {};
  int64_t size[kArrays];

  void add(int64_t elements) {
    size[count] = elements;
    first_chunk[count + 1] = first_chunk[count] + static_cast<int>((elements + kChunk - 1) / kChunk);
    count++;
  }
  int chunks() const { return first_chunk[count]; }

  __device__ Chunk at(int chunk) const {
    int array = 0;
    while (first_chunk[array + 1] <= chunk) array++;
    const int64_t begin = (chunk - first_chunk[array]) * kChunk;
    return {array, begin, static_cast<int>(size[array] - begin < kChunk ? size[array] - begin : kChunk)};
  }
};

// How many of n elements, from the first on, are read and written kQuad at a time; all arrays have to begin on such accesses.
template <class... T>
__device__ __forceinline__ int whole_quads(int n, const T*... arrays) {
  return (reinterpret_cast<uintptr_t>(arrays) | ...) % (kQuad * sizeof(float)) == 0 ? n - n % kQuad : 0;
}

// Calls f(first, last) for runs of arrays that fit one launch.
template <class F>
void for_lists(size_t arrays, F&& f) {
  for (size_t first = 0; first < arrays; first += kArrays) f(first, std::min<size_t>(arrays, first + kArrays));
}

}  // namespace bts::cuda
