// A row is read once and used several times: the threads of its block, or its warp, hold it in registers.
#pragma once

#include <algorithm>

#include "vectors.cuh"

namespace bts::cuda {

// Has the compiler take `x` for something new.
template <class T>
__device__ __forceinline__ void forget_origin([[maybe_unused]] T& x) {
#if defined(__CUDACC__)
  if constexpr (sizeof x % 4 == 0) {
    uint32_t words[sizeof x / 4];
    __builtin_memcpy(words, &x, sizeof x);
#pragma unroll
    for (uint32_t& word : words) asm volatile("" : "+r"(word));
    __builtin_memcpy(&x, words, sizeof x);
  }
#endif
}

// Up to size() elements of a row, packs of `width` of them; a thread has every blockDim.x-th pack, `packs` of them at most.
// All of them are read before the first is used.
template <class T, int width, int packs>
class Span {
 public:
  static constexpr int kWidth = width;
  __device__ __forceinline__ static int size() { return packs * width * static_cast<int>(blockDim.x); }

  // From element `begin` on of the n at `row`.
  __device__ __forceinline__ Span(const T* row, int begin, int n) : begin_(begin), n_(n) {
#pragma unroll
    for (int i = 0; i < packs; i++)
      if (place(i) < n) packs_[i] = pack_at<width>(row + place(i));
  }

  // Calls f(i, c) for this thread's packs: pack i has the row's elements from c on.
  template <class F>
  __device__ __forceinline__ void for_packs(F&& f) const {
#pragma unroll
    for (int i = 0; i < packs; i++)
      if (place(i) < n_) f(i, place(i));
  }

  // x = pack i, where i is a constant once loops are unrolled. Each use widens anew: the compiler would rather keep what is
  // wide, in twice as many registers.
  __device__ __forceinline__ void get(float (&x)[width], int i) const {
    auto pack = packs_[i];
    forget_origin(pack);
    widen(x, pack);
  }

 private:
  __device__ __forceinline__ int place(int i) const {
    return begin_ + static_cast<int>(threadIdx.x + i * blockDim.x) * width;
  }

  int begin_, n_;
  Pack<T, width> packs_[packs];
};

// Calls f with all spans of a row of n elements: the first, which is at hand, and those for which there were no registers, as
// `rest` makes them from their places.
template <class First, class Rest, class F>
__device__ __forceinline__ void for_spans(const First& first, const Rest& rest, int n, F&& f) {
  f(first);
  for (int begin = First::size(); begin < n; begin += decltype(rest(begin))::size()) f(rest(begin));
}

// Threads that hold `packs` packs each, for a row of `count` of them: whole warps, `most` threads at most.
inline unsigned threads_of_row(int64_t count, int packs, unsigned most) {
  const int64_t warps = (count + 32 * packs - 1) / (32 * packs);
  return static_cast<unsigned>(std::clamp<int64_t>(warps, 1, most / 32)) * 32;
}

}  // namespace bts::cuda
