// The one file where nvcc and the emulation differ: the same kernels compile to machine code for a GPU, or as host code
// on the fibers of emulation/cuda_emu.h.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "emulation/cuda_runtime.h"
#endif

#include "../native/ops.h"
#include "runtime/context.h"

namespace bts::cuda {

using bf16 = BFloat16;

// --- launches
//
// GPU_LAUNCH(context, kernel, grid, block, dynamic shared bytes, arguments...) queues a kernel on the context's stream;
// the name of a template with commas stands in parentheses. An empty grid is no work. Throws DEVICE_FAILED.
#define GPU_LAUNCH(context, kernel, ...) ::bts::cuda::launch(context, #kernel, kernel, __VA_ARGS__)

constexpr size_t kSharedWithoutAsking = 48 << 10;  // more than this a kernel must opt in to

template <class... Parameters, class... Arguments>
void launch(const Context& context, const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block,
            size_t shared_bytes, Arguments... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes as many arguments as it has parameters");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (shared_bytes > kSharedWithoutAsking) {
    expect(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
           name);
  }
#if defined(__CUDACC__)
  kernel<<<grid, block, shared_bytes, context.stream()>>>(Parameters(arguments)...);
  expect(cudaGetLastError(), name);
#else
  (void)context;
  (void)name;
  emuQueue([=] { emu::launch([=] { kernel(Parameters(arguments)...); }, grid, block, shared_bytes); });
#endif
}

// Dynamic shared memory of the block. There is no other: blocks of exact size, full of NaN, let the emulation see what is
// read too early or written too far.
#if defined(__CUDACC__)
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]
#else
#define DYNAMIC_SHARED(name) unsigned char* const name = emu::dynamic_shared
#endif

// --- numbers

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(uint32_t(x.bits) << 16); }

// Two f32 as bf16, the first in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
#if defined(__CUDACC__)
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#else
  const auto narrow = [](float x) -> uint32_t {
    const uint32_t bits = __float_as_uint(x);
    if (x != x) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  };
  return narrow(low) | narrow(high) << 16;
#endif
}
__device__ __forceinline__ float low_half(uint32_t packed) { return __uint_as_float(packed << 16); }
__device__ __forceinline__ float high_half(uint32_t packed) { return __uint_as_float(packed & 0xffff0000u); }

// To the nearest, ties to even.
__device__ __forceinline__ bf16 to_bf16(float x) {
#if defined(__CUDACC__)
  bf16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
  return result;
#else
  return {uint16_t(pack_bf16(x, 0) & 0xffff)};
#endif
}

// The number in type T that is nearest to x.
template <class T>
__device__ __forceinline__ T from_float(float x);
template <>
__device__ __forceinline__ float from_float<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return to_bf16(x);
}

__device__ __forceinline__ float f16_to_float(uint16_t bits) {
#if defined(__CUDACC__)
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
#else
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 0) return (sign ? -1.0f : 1.0f) * (float(fraction) * 0x1p-24f);  // zero and subnormals
  return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13);
#endif
}

__device__ __forceinline__ uint16_t float_to_f16(float x) {
#if defined(__CUDACC__)
  uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
#else
  const uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (x != x) return 0x7fff;
  if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00);  // 65520 rounds to infinity
  if (magnitude < 0x38800000u) {                                 // below 2^-14: subnormal, a multiple of 2^-24
    return uint16_t(sign | (__float_as_uint(std::fabs(x) + 0.5f) - __float_as_uint(0.5f)));
  }
  return uint16_t(sign | (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13);
#endif
}

// The third type of weights.
struct f16 {
  uint16_t bits;
};
__device__ __forceinline__ float to_float(f16 x) { return f16_to_float(x.bits); }
template <>
__device__ __forceinline__ f16 from_float<f16>(float x) {
  return {float_to_f16(x)};
}

// For the formulas that both backends share (see native/host_device.h).
struct Math {
  __device__ __forceinline__ static float exp(float x) { return expf(x); }
  __device__ __forceinline__ static float tanh(float x) { return tanhf(x); }
  __device__ __forceinline__ static float erfc(float x) { return erfcf(x); }
  __device__ __forceinline__ static float sqrt(float x) { return sqrtf(x); }
  __device__ __forceinline__ static float divide(float x, float y) { return x / y; }
};

// For results that are rounded to bf16. What is exact to the last bit is many instructions and a branch, which would cost more
// time than the memory that it works for.
struct FastMath : Math {
  __device__ __forceinline__ static float exp(float x) {
    constexpr float kLog2E = 1.4426950408889634f;
#if defined(__CUDACC__)
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * kLog2E));
    return y;
#else
    return exp2f(x * kLog2E);
#endif
  }
  __device__ __forceinline__ static float divide(float x, float y) {
#if defined(__CUDACC__)
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(y));
    return x * reciprocal;
#else
    return x * (1 / y);
#endif
  }
};

// 2^x in one instruction: off by 2^-22 of the result, and zero where that would be subnormal.
__device__ __forceinline__ float fast_exp2(float x) {
#if defined(__CUDACC__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

// Off by 2^-22, not of the result but of 1.
__device__ __forceinline__ float fast_tanh(float x) { return 1 - __fdividef(2, 1 + fast_exp2(x * (2 * 1.44269504f))); }

// --- tensor cores and asynchronous copies. All lanes of the warp call them together.

// D (16x8, f32) += A (16x16, bf16, row-major) B (16x8, bf16, column-major), in the fragments of the PTX manual.
#if defined(__CUDACC__)
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMU_PLACE) {
  emu::Mma arguments{d, a, b};
  emu::warp_collective(~0u, emu::Wait::Mma, &arguments, emu::run_mma_m16n8k16_bf16, {file, line});
}
#endif

// Four 8x8 matrices of 16-bit elements from shared memory: lane l names row l % 8 of matrix l / 8, 16-byte aligned.
// In matrix i, lane l gets elements (l / 4, 2 (l % 4)) and its right neighbour; transposed, that of the transpose.
#if defined(__CUDACC__)
__device__ __forceinline__ uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
#else
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, EMU_PLACE) {
  emu::LoadMatrix arguments{row, r, 4, false};
  emu::warp_collective(~0u, emu::Wait::LoadMatrix, &arguments, emu::run_load_matrix, {file, line});
}
inline void ldmatrix_x4_transposed(uint32_t (&r)[4], const void* row, EMU_PLACE) {
  emu::LoadMatrix arguments{row, r, 4, true};
  emu::warp_collective(~0u, emu::Wait::LoadMatrix, &arguments, emu::run_load_matrix, {file, line});
}
#endif

// 16 bytes from device to shared memory, both aligned; where fewer are read, zeros follow. Each thread commits its copies
// as a group and waits until at most `in_flight` groups are on their way; a barrier shows them to the others.
#if defined(__CUDACC__)
__device__ __forceinline__ void cp_async16(void* to, const void* from, uint32_t source_bytes = 16) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(to)), "l"(from), "r"(source_bytes)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }
template <int in_flight>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(in_flight) : "memory");
}
#else
inline void cp_async16(void* to, const void* from, uint32_t source_bytes = 16, EMU_PLACE) {
  emu::cp_async(to, from, 16, source_bytes, {file, line});
}
inline void cp_async_commit(EMU_PLACE) { emu::cp_commit({file, line}); }
template <int in_flight>
inline void cp_async_wait() {
  emu::cp_wait(in_flight);
}
#endif

// A load of what this multiprocessor reads once: it leaves the L1 cache to others.
#if defined(__CUDACC__)
__device__ __forceinline__ uint4 load_streaming(const uint4* from) {
  uint4 x;
  asm volatile("ld.global.L1::no_allocate.v4.b32 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "l"(from));
  return x;
}
#else
inline uint4 load_streaming(const uint4* from) { return *from; }
#endif

// A store of what nobody on the device reads soon: it leaves the L2 cache first.
#if defined(__CUDACC__)
__device__ __forceinline__ void store_streaming(uint4* to, uint4 x) {
  asm volatile("st.global.cs.v4.b32 [%0], {%1, %2, %3, %4};\n" ::"l"(to), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w)
               : "memory");
}
#else
inline void store_streaming(uint4* to, uint4 x) { *to = x; }
#endif

}  // namespace bts::cuda
