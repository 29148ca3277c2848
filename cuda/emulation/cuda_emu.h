// CUDA C++ on the host: what kernels use of the language, so that the very same .cu files run without a GPU.
//
// Every CUDA thread is a fiber, a block runs on one core, and a fiber gives way only at barriers and at warp-wide
// operations. Threads and blocks run in an order drawn from BTS_EMULATION_SEED (default 1), memory that nobody has
// written holds NaN, and what a GPU would leave undefined (divergent barriers, shuffles from lanes that are not there,
// asynchronous copies read too early) is an Error that says where every thread stands. x86-64 only.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict
#define __align__(n) alignas(n)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

namespace emu {

// Where a kernel calls something.
struct Place {
  const char* file;
  int line;
};

enum class Wait : uint8_t {
  None,
  SyncWarp,
  Shuffle,
  Ballot,
  Mma,
  LoadMatrix,
  SyncThreads,
  Wgmma,
  Barrier,
  NamedBarrier,
  Done
};

struct Warp;

struct Copy {  // one cp.async in flight
  void* to;
  const void* from;
  uint32_t bytes, source_bytes;
};

struct Thread {
  void* stack_pointer = nullptr;
  const char* stack = nullptr;
  size_t stack_bytes = 0;
  void* asan_stack = nullptr;
  void* tsan_fiber = nullptr;
  uint3 index{};
  unsigned lane = 0;
  Warp* warp = nullptr;
  // What it waits for.
  Wait wait = Wait::None;
  uint32_t mask = 0;
  void* arguments = nullptr;
  Place at{"", 0};
  // Asynchronous copies: fixed arrays, since the heap would be seen by ThreadSanitizer.
  Copy copies[128];
  unsigned copy_count = 0, group_ends[16], group_count = 0;
};

struct Warp {
  Thread* lanes[32];
  uint32_t alive, waiting;
  unsigned generation;
  char order[2];  // ThreadSanitizer's happens-before, one for odd and one for even generations
};

struct Statistics {
  uint64_t switches, blocks, multiplications, shuffles, barriers;
};

extern __thread Thread* current;
extern __thread uint3 block_index;
extern __thread dim3 block_size, grid_size;
extern __thread unsigned char* dynamic_shared;
extern __thread size_t dynamic_shared_bytes;
extern Statistics statistics;

// Runs every block of the grid. Throws bts::Error DEVICE_FAILED for what would be undefined on a GPU.
void launch(const std::function<void()>& kernel, dim3 grid, dim3 block, size_t shared_bytes);
[[noreturn]] void fail(const char* what, Place at);

using Collective = void (*)(Warp&, uint32_t mask);  // runs once, in the last lane to arrive
void warp_collective(uint32_t mask, Wait kind, void* arguments, Collective run, Place at);
void sync_threads(Place at);
// The running thread sleeps until another one wakes it.
void sleep(Wait why, Place at);
void wake(Thread* thread);
// Of the block's random numbers, one below `limit`.
uint64_t chance(uint64_t limit);
// What goes on beside the threads of a block (hopper.cc): now and then, and when all of them wait, `advance` does a piece of
// it if there is any.
struct Beside {
  void (*begin_block)();
  bool (*advance)();
  void (*end_block)();
};
extern Beside beside;
// Numbers of the barriers that the running thread has passed, for checkers of races.
unsigned block_generation();
unsigned warp_generation();

// A copy lands at its wait; until then its destination holds NaN.
void cp_async(void* to, const void* from, uint32_t bytes, uint32_t source_bytes, Place at);
void cp_commit(Place at);
void cp_wait(unsigned groups_in_flight);

struct Shuffle {
  uint64_t value;
  unsigned source;
  uint64_t result;
};
void run_shuffle(Warp& warp, uint32_t mask);
struct Ballot {
  bool predicate;
  uint32_t result;
};
void run_ballot(Warp& warp, uint32_t mask);
struct Mma {
  float* d;
  const uint32_t *a, *b;
};
void run_mma_m16n8k16_bf16(Warp& warp, uint32_t mask);
struct LoadMatrix {
  const void* row;
  uint32_t* out;
  int count;
  bool transposed;
};
void run_load_matrix(Warp& warp, uint32_t mask);

template <class T>
inline T shuffle(uint32_t mask, T value, unsigned source, Place at) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  Shuffle arguments{0, source, 0};
  std::memcpy(&arguments.value, &value, sizeof(T));
  warp_collective(mask, Wait::Shuffle, &arguments, run_shuffle, at);
  T result;
  std::memcpy(&result, &arguments.result, sizeof(T));
  return result;
}

}  // namespace emu

#define threadIdx (emu::current->index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)
constexpr int warpSize = 32;

// The last parameters of what a kernel may wait in: they name the caller's line.
#define EMU_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(EMU_PLACE) { emu::sync_threads({file, line}); }
inline void __syncwarp(uint32_t mask = ~0u, EMU_PLACE) {
  emu::warp_collective(mask, emu::Wait::SyncWarp, nullptr, nullptr, {file, line});
}
template <class T>
inline T __shfl_sync(uint32_t mask, T value, int source, int width = 32, EMU_PLACE) {
  const unsigned lane = emu::current->lane, low = width - 1u;
  return emu::shuffle(mask, value, (lane & ~low) | (unsigned(source) & low), {file, line});
}
template <class T>
inline T __shfl_xor_sync(uint32_t mask, T value, int bits, int width = 32, EMU_PLACE) {
  const unsigned lane = emu::current->lane, source = lane ^ unsigned(bits), low = width - 1u;
  return emu::shuffle(mask, value, (source & ~low) > (lane & ~low) ? lane : source, {file, line});
}
template <class T>
inline T __shfl_down_sync(uint32_t mask, T value, unsigned delta, int width = 32, EMU_PLACE) {
  const unsigned lane = emu::current->lane;
  return emu::shuffle(mask, value, (lane & (width - 1u)) + delta < unsigned(width) ? lane + delta : lane, {file, line});
}
template <class T>
inline T __shfl_up_sync(uint32_t mask, T value, unsigned delta, int width = 32, EMU_PLACE) {
  const unsigned lane = emu::current->lane;
  return emu::shuffle(mask, value, (lane & (width - 1u)) >= delta ? lane - delta : lane, {file, line});
}
inline uint32_t __ballot_sync(uint32_t mask, bool predicate, EMU_PLACE) {
  emu::Ballot arguments{predicate, 0};
  emu::warp_collective(mask, emu::Wait::Ballot, &arguments, emu::run_ballot, {file, line});
  return arguments.result;
}
inline bool __any_sync(uint32_t mask, bool predicate, EMU_PLACE) { return __ballot_sync(mask, predicate, file, line); }
inline bool __all_sync(uint32_t mask, bool predicate, EMU_PLACE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}
inline uint32_t __activemask() { return emu::current->warp->alive; }

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __atomic_signal_fence(__ATOMIC_SEQ_CST); }

inline float atomicAdd(float* to, float value) {
  auto* bits = reinterpret_cast<uint32_t*>(to);
  uint32_t before = __atomic_load_n(bits, __ATOMIC_RELAXED), after;
  float sum;
  do {
    std::memcpy(&sum, &before, 4);
    sum += value;
    std::memcpy(&after, &sum, 4);
  } while (!__atomic_compare_exchange_n(bits, &before, after, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  std::memcpy(&sum, &before, 4);
  return sum;
}
inline int atomicAdd(int* to, int value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }
inline unsigned atomicAdd(unsigned* to, unsigned value) { return __atomic_fetch_add(to, value, __ATOMIC_RELAXED); }

inline float __expf(float x) { return std::exp(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}
inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}
inline int __ffs(uint32_t bits) { return __builtin_ffs(static_cast<int>(bits)); }
inline int __popc(uint32_t bits) { return __builtin_popcount(bits); }
inline uint32_t __umulhi(uint32_t a, uint32_t b) { return uint32_t(uint64_t(a) * b >> 32); }
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
using std::fmaf;
using std::fmaxf;
using std::fminf;
using std::max;
using std::min;
