// Loads and stores of several neighbours at once, and loops over them. Arithmetic is f32 whatever lies in memory.
#pragma once

#include <initializer_list>
#include <span>
#include <type_traits>

#include "gpu.cuh"

namespace bts::cuda {

constexpr int kWide = 8;  // elements of a wide access: 16 bytes of bf16, twice 16 of f32

template <class T, int width>
struct alignas(sizeof(T) * width < 16 ? sizeof(T) * width : 16) Pack {
  T at[width];
};

template <int width, class T>
__device__ __forceinline__ Pack<T, width> pack_at(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <int width, class T>
__device__ __forceinline__ void widen(float (&x)[width], const Pack<T, width>& pack) {
#pragma unroll
  for (int k = 0; k < width; k++) x[k] = to_float(pack.at[k]);
}

template <int width, class T>
__device__ __forceinline__ void load(float (&x)[width], const T* from) {
  widen(x, pack_at<width>(from));
}

template <int width, class T>
__device__ __forceinline__ void store(T* to, const float (&x)[width]) {
  Pack<T, width> pack;
#pragma unroll
  for (int k = 0; k < width; k++) pack.at[k] = from_float<T>(x[k]);
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

// Number of this thread in the grid, and of all of them, along x.
__device__ __forceinline__ int64_t grid_thread() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int64_t grid_threads() { return int64_t(gridDim.x) * blockDim.x; }

// Calls f with the widest access, kWide or 1 as a constant, that rows of n elements at these places allow.
template <class F>
void with_width(int64_t n, std::span<const void* const> places, F&& f) {
  bool wide = n % kWide == 0;
  for (const void* place : places) wide = wide && reinterpret_cast<uintptr_t>(place) % 16 == 0;
  if (wide) f(std::integral_constant<int, kWide>());
  else f(std::integral_constant<int, 1>());
}
template <class F>
void with_width(int64_t n, std::initializer_list<const void*> places, F&& f) {
  with_width(n, std::span(places.begin(), places.size()), f);
}

constexpr int kThreads = 256;

// Enough blocks to fill the device several times over, at most one thread for each of `count` items: kernels loop.
inline dim3 grid_for(const Context& context, int64_t count) {
  const int64_t blocks = (count + kThreads - 1) / kThreads, most = int64_t{16} * context.multiprocessors();
  return dim3(static_cast<unsigned>(blocks < most ? blocks : most));
}

}  // namespace bts::cuda
