// What Hopper (sm_90a) adds, where nvcc and the emulation differ: copies of whole tiles by the tensor memory accelerator,
// barriers of phases that count arrivals and bytes, products of four warps that read both operands from shared memory, and
// registers that move from the warps that load to those that multiply.
#pragma once

#include "gemm/mma.cuh"
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

// --- copies. The box of a map at (row, col), zeros outside of the matrix, lands at `to`, which begins at a multiple of 1024
// bytes, as Swizzled has it; its bytes count at the barrier. One thread asks for it.
#if defined(__CUDACC__)
__device__ __forceinline__ void copy_box(void* to, const TensorMap& map, int col, int row, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];\n" ::"r"(shared_address(to)),
      "l"(&map), "r"(col), "r"(row), "r"(shared_address(barrier))
      : "memory");
}
#else
inline void copy_box(void* to, const TensorMap& map, int col, int row, Barrier* barrier, EMU_PLACE) {
  emu::copy_box(to, map, col, row, barrier, {file, line});
}
#endif

// --- products of a warpgroup, four warps that call these together. d [64, kN] += A [64, kStep] B [kN, kStep]^T over tiles
// as Swizzled has them, where descriptors say they are. Warp w holds rows 16 w.. as row_of and col_of say. Products between
// a fence and a commit are a group; d may be touched when a wait has seen its group end, and the tiles be overwritten.

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
#define REGISTERS_64(i) REGISTERS_16(i), REGISTERS_16(i + 16), REGISTERS_16(i + 32), REGISTERS_16(i + 48)
// Keeps what is done with d from moving across: to the compiler a fence or a wait has nothing to do with it.
__device__ __forceinline__ void settle(float (&d)[64]) { asm volatile("" : REGISTERS_64(0)::"memory"); }
__device__ __forceinline__ void settle(float (&d)[128]) {
  asm volatile("" : REGISTERS_64(0), REGISTERS_64(64)::"memory");
}
template <Depth LA, Depth LB>
__device__ __forceinline__ void wgmma(float (&d)[64], uint64_t a, uint64_t b) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, %66, %67;}\n"
      : REGISTERS_64(0)
      : "l"(a), "l"(b), "n"(LA == Depth::Outer), "n"(LB == Depth::Outer));
}
template <Depth LA, Depth LB>
__device__ __forceinline__ void wgmma(float (&d)[128], uint64_t a, uint64_t b) {
  asm volatile(
      "{.reg .pred p; setp.ne.b32 p, 1, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
      "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "
      "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "
      "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, "
      "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
      "}, %128, %129, p, 1, 1, %130, %131;}\n"
      : REGISTERS_64(0), REGISTERS_64(64)
      : "l"(a), "l"(b), "n"(LA == Depth::Outer), "n"(LB == Depth::Outer));
}
#undef REGISTERS_64
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
template <Depth LA, Depth LB, int kSums>
inline void wgmma(float (&d)[kSums], uint64_t a, uint64_t b, EMU_PLACE) {
  emu::wgmma(d, {a, b, LA == Depth::Outer, LB == Depth::Outer, 2 * kSums}, {file, line});
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
