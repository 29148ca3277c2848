// What Hopper (sm_90a) adds, where nvcc and the emulation differ: copies of whole tiles by the tensor memory accelerator,
// barriers of phases that count arrivals and bytes, products of four warps that read operands from shared memory, and
// registers that move from the warps that load to those that multiply.
#pragma once

#include "gemm/mma.cuh"
#include "gemm/tile_order.cuh"
#include "runtime/tensor_map.h"

// Kernels have a body where these instructions exist; elsewhere they are empty and never launched.
#if !defined(__CUDACC__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BTS_HOPPER_CODE 1
#endif

#if defined(BTS_HOPPER)

namespace bts::cuda {

// --- barriers in shared memory. A phase ends when `count` threads have arrived and all bytes that they announced have
// landed; the first phase has parity 0, and waiting for a parity is waiting until a phase of that parity has ended: for
// parity 1 that is so from the start.

using Barrier = uint64_t;

#if defined(__CUDACC__)
__device__ __forceinline__ void barrier_init(Barrier* barrier, unsigned count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;\n" ::"r"(shared_address(barrier)), "r"(count) : "memory");
}
// Shows barriers that were initialised to the copies; a barrier of the block follows.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];\n" ::"r"(shared_address(barrier)) : "memory");
}
__device__ __forceinline__ void barrier_arrive_and_expect(Barrier* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;\n" ::"r"(shared_address(barrier)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ void barrier_wait(Barrier* barrier, unsigned parity) {
  asm volatile(
      "{.reg .pred ended;\n"
      "again: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 ended, [%0], %1;\n"
      "@!ended bra again;}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}
#else
inline void barrier_init(Barrier* barrier, unsigned count, EMU_PLACE) {
  emu::barrier_init(barrier, count, {file, line});
}
inline void barrier_init_fence() {}
inline void barrier_arrive(Barrier* barrier, EMU_PLACE) { emu::barrier_arrive(barrier, 0, {file, line}); }
inline void barrier_arrive_and_expect(Barrier* barrier, uint32_t bytes, EMU_PLACE) {
  emu::barrier_arrive(barrier, bytes, {file, line});
}
inline void barrier_wait(Barrier* barrier, unsigned parity, EMU_PLACE) {
  emu::barrier_wait(barrier, parity, {file, line});
}
#endif

// --- barriers with a number below 16, of `threads` threads in whole warps: some wait for them, others only arrive and go
// on. __syncthreads is number 0.
#if defined(__CUDACC__)
__device__ __forceinline__ void named_barrier_wait(int number, int threads) {
  asm volatile("bar.sync %0, %1;\n" ::"r"(number), "r"(threads) : "memory");
}
__device__ __forceinline__ void named_barrier_arrive(int number, int threads) {
  asm volatile("bar.arrive %0, %1;\n" ::"r"(number), "r"(threads) : "memory");
}
#else
inline void named_barrier_wait(int number, int threads, EMU_PLACE) {
  emu::named_barrier_wait(number, threads, {file, line});
}
inline void named_barrier_arrive(int number, int threads, EMU_PLACE) {
  emu::named_barrier_arrive(number, threads, {file, line});
}
#endif

// --- copies. The box of a map that begins at these places, the innermost first, lands at `to`, which begins at a multiple
// of 1024 bytes, as Swizzled has it, with zeros for what lies outside of the array; its bytes count at the barrier. One
// thread asks for it.
#if defined(__CUDACC__)
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, int col, int row, Keep keep,
                                         Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
      "[%1, {%2, %3}], [%4], %5;\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(col), "r"(row), "r"(shared_address(barrier)), "l"(keep)
      : "memory");
}
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, int x, int y, int z, int w, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(shared_address(barrier))
      : "memory");
}
// A multiple of 16 bytes, as they lie in memory.
__device__ __forceinline__ void copy_bytes(void* to, const void* from, uint32_t bytes, Barrier* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(
                   shared_address(to)),
               "l"(from), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}
// Shows what the calling thread has written to shared memory to the products and copies that are asked for after it.
__device__ __forceinline__ void show_to_copies() { asm volatile("fence.proxy.async.shared::cta;\n" ::: "memory"); }
#else
inline void copy_box(void* to, const TensorMap& map, int col, int row, Keep, Barrier* barrier, EMU_PLACE) {
  emu::copy_box(to, map, {col, row}, barrier, {file, line});
}
inline void copy_box(void* to, const TensorMap& map, int x, int y, int z, int w, Barrier* barrier, EMU_PLACE) {
  emu::copy_box(to, map, {x, y, z, w}, barrier, {file, line});
}
inline void copy_bytes(void* to, const void* from, uint32_t bytes, Barrier* barrier, EMU_PLACE) {
  emu::copy_bytes(to, from, bytes, barrier, {file, line});
}
inline void show_to_copies() {}
#endif

// --- products of a warpgroup, four warps that call these together. d [64, kN] += A [64, kStep] B [kN, kStep]^T, or = without
// `add`. B, and A unless it lies in registers, are tiles as Swizzled has them, where descriptors say they are. Warp w holds
// rows 16 w.. as row_of and col_of say; of an A in registers, as Fragments<1>. Products between a fence, which stands
// behind what was done with registers, and a commit are a group. When a wait has seen it end, and not before, d and the
// registers of A may be touched and tiles be overwritten.

// Where an operand begins, in groups of eight rows of 128 bytes. Depth::Outer: `kStrip` bytes lie between strips of 64.
template <Depth L, int kStrip = 0>
__device__ __forceinline__ uint64_t descriptor(const void* corner) {
  constexpr uint64_t kSwizzle128 = 1, kGroup = 8 * 128;
#if defined(__CUDACC__)
  const uint64_t address = shared_address(corner);
#else
  const uint64_t address = static_cast<const unsigned char*>(corner) - emu::dynamic_shared;
#endif
  constexpr uint64_t kLeading = L == Depth::Outer ? kStrip / 16 : 1;  // not read where depth runs along the rows
  return (address & 0x3ffff) / 16 | kLeading << 16 | kGroup / 16 << 32 | kSwizzle128 << 62;
}
// How far a descriptor moves for each kStep of depth.
template <Depth L>
constexpr uint64_t kDescriptorStep = (L == Depth::Inner ? kStep * sizeof(bf16) : kStep * 128) / 16;

#if defined(__CUDACC__)
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }
template <int in_flight>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(in_flight) : "memory");
}

#define REGISTERS_4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define REGISTERS_16(i) REGISTERS_4(i), REGISTERS_4(i + 4), REGISTERS_4(i + 8), REGISTERS_4(i + 12)
#define REGISTERS_32 REGISTERS_16(0), REGISTERS_16(16)
#define REGISTERS_64 REGISTERS_32, REGISTERS_16(32), REGISTERS_16(48)
#define REGISTERS_128 REGISTERS_64, REGISTERS_16(64), REGISTERS_16(80), REGISTERS_16(96), REGISTERS_16(112)
#define PLACES_32                                                        \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15" \
  ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define PLACES_64                                                                    \
  PLACES_32                                                                          \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
  ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define PLACES_128                                                                               \
  PLACES_64                                                                                      \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"             \
  ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"             \
  ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
  ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
// For one width of results: of its sums n / 2 are a thread's, and p0.. are the numbers of the operands behind these.
#define PRODUCTS(n, registers, places, p0, p1, p2, p3, p4, p5, p6)                                                   \
  /* Keeps what is done with d from moving across: to the compiler a fence or a wait has nothing to do with it. */   \
  __device__ __forceinline__ void settle(float (&d)[n / 2]) { asm volatile("" : registers::"memory"); }              \
  template <Depth LA, Depth LB>                                                                                      \
  __device__ __forceinline__ void wgmma(float (&d)[n / 2], uint64_t a, uint64_t b, bool add = true) {                \
    asm volatile("{.reg .pred add; setp.ne.b32 add, %" #p2                                                           \
                 ", 0;\n"                                                                                            \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" places "}, %" #p0 ", %" #p1            \
                 ", add, 1, 1, %" #p3 ", %" #p4 ";}\n"                                                               \
                 : registers                                                                                         \
                 : "l"(a), "l"(b), "r"(int{add}), "n"(LA == Depth::Outer), "n"(LB == Depth::Outer));                 \
  }                                                                                                                  \
  template <Depth LB>                                                                                                \
  __device__ __forceinline__ void wgmma(float (&d)[n / 2], const uint32_t (&a)[4], uint64_t b, bool add = true) {    \
    asm volatile("{.reg .pred add; setp.ne.b32 add, %" #p5                                                           \
                 ", 0;\n"                                                                                            \
                 "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" places "}, {%" #p0 ", %" #p1 ", %" #p2 \
                 ", %" #p3 "}, %" #p4 ", add, 1, 1, %" #p6 ";}\n"                                                    \
                 : registers                                                                                         \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int{add}), "n"(LB == Depth::Outer));      \
  }
// The same for left operands in registers.
template <int kSteps>
__device__ __forceinline__ void settle(uint32_t (&a)[kSteps][4]) {
#pragma unroll
  for (int k = 0; k < kSteps; k++)
    asm volatile("" : "+r"(a[k][0]), "+r"(a[k][1]), "+r"(a[k][2]), "+r"(a[k][3])::"memory");
}
PRODUCTS(64, REGISTERS_32, PLACES_32, 32, 33, 34, 35, 36, 37, 38)
PRODUCTS(128, REGISTERS_64, PLACES_64, 64, 65, 66, 67, 68, 69, 70)
PRODUCTS(256, REGISTERS_128, PLACES_128, 128, 129, 130, 131, 132, 133, 134)
#undef PRODUCTS
#undef PLACES_128
#undef PLACES_64
#undef PLACES_32
#undef REGISTERS_128
#undef REGISTERS_64
#undef REGISTERS_32
#undef REGISTERS_16
#undef REGISTERS_4
#else
inline void wgmma_fence() { emu::wgmma_fence(); }
inline void wgmma_commit(EMU_PLACE) { emu::wgmma_commit({file, line}); }
template <int in_flight>
inline void wgmma_wait(EMU_PLACE) {
  emu::wgmma_wait(in_flight, {file, line});
}
template <int kSums>
inline void settle(float (&)[kSums]) {}
template <int kSteps>
inline void settle(uint32_t (&)[kSteps][4]) {}
template <Depth LA, Depth LB, int kSums>
inline void wgmma(float (&d)[kSums], uint64_t a, uint64_t b, bool add = true, EMU_PLACE) {
  emu::wgmma(d, {.a = {a, LA == Depth::Outer}, .b = {b, LB == Depth::Outer}, .n = 2 * kSums, .add = add}, {file, line});
}
template <Depth LB, int kSums>
inline void wgmma(float (&d)[kSums], const uint32_t (&a)[4], uint64_t b, bool add = true, EMU_PLACE) {
  emu::wgmma(d, {.a_registers = a, .b = {b, LB == Depth::Outer}, .n = 2 * kSums, .add = add}, {file, line});
}
#endif

// --- registers of each thread of a warpgroup, a multiple of 8
#if defined(__CUDACC__)
template <int count>
__device__ __forceinline__ void keep_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;\n" ::"n"(count));
}
template <int count>
__device__ __forceinline__ void claim_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;\n" ::"n"(count));
}
#else
template <int count>
inline void keep_registers() {}
template <int count>
inline void claim_registers() {}
#endif

}  // namespace bts::cuda

#endif
