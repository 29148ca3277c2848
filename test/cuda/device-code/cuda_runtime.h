// CUDA for clang without any of NVIDIA's files: the words of the language, the functions that the kernels call, and the
// part of the runtime API that the backend uses. Kernels are launched by name through ptx_launch (ptx_runtime.h).
#pragma once

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __host__ __attribute__((host))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(...) __attribute__((launch_bounds(__VA_ARGS__)))
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))

// Below the words, which clang's own wrappers of these headers use.
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  __host__ __device__ constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
  __host__ __device__ constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  __host__ __device__ operator uint3() const { return {x, y, z}; }
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
__host__ __device__ inline float2 make_float2(float x, float y) { return {x, y}; }
__host__ __device__ inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
__host__ __device__ inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// --- the runtime API

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorMemoryAllocation = 2, cudaErrorNotReady = 600 };
using cudaError = cudaError_t;
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1 };
using cudaStream_t = struct ptxStream*;
struct cudaDeviceProp {
  size_t sharedMemPerBlockOptin;
  int multiProcessorCount, l2CacheSize;
};

extern "C" {
void ptx_track(void* memory, size_t bytes);
void ptx_untrack(void* memory);
cudaError_t cudaLaunchKernel(const void* kernel, dim3 grid, dim3 block, void** arguments, size_t shared_bytes,
                             cudaStream_t stream);
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared_bytes = 0, void* stream = nullptr);
}

inline const char* cudaGetErrorName(cudaError_t) { return "cudaError"; }
inline const char* cudaGetErrorString(cudaError_t) { return "failed"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {99 << 10, 4, 64 << 10};
  return cudaSuccess;
}
inline cudaError_t cudaMalloc(void** to, size_t bytes) {
  if (posix_memalign(to, 256, bytes ? bytes : 1) != 0) return cudaErrorMemoryAllocation;
  std::memset(*to, 0xff, bytes);
  ptx_track(*to, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* memory) {
  ptx_untrack(memory);
  std::free(memory);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaStreamQuery(cudaStream_t) { return cudaSuccess; }
// Events only measure, and there is nothing to measure here.
using cudaEvent_t = struct ptxEvent*;
enum { cudaEventDefault = 0 };
inline cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = nullptr;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 0;
  return cudaSuccess;
}
template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel*, cudaFuncAttribute, int) {
  return cudaSuccess;
}

// --- what kernels call

#include "__clang_cuda_builtin_vars.h"

__device__ inline int min(int a, int b) { return b < a ? b : a; }
__device__ inline int max(int a, int b) { return a < b ? b : a; }
__device__ inline int64_t min(int64_t a, int64_t b) { return b < a ? b : a; }
__device__ inline int64_t max(int64_t a, int64_t b) { return a < b ? b : a; }
__device__ inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
__device__ inline float fminf(float a, float b) { return __builtin_fminf(a, b); }
__device__ inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
__device__ inline float sqrtf(float x) { return __nvvm_sqrt_rn_f(x); }
__device__ inline float rsqrtf(float x) { return 1 / __nvvm_sqrt_rn_f(x); }
__device__ inline float __expf(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
  return y;
}
__device__ inline float expf(float x) { return __expf(x); }
__device__ inline float __fdividef(float a, float b) { return a / b; }
__device__ inline float logf(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y * 0.6931471805599453f;
}
// As native/cpu/vector_math.h has them.
__device__ inline float tanhf(float x) {
  const float s = x * x;
  float p = -5.70498872745e-3f;
  p = fmaf(p, s, 2.06390887954e-2f);
  p = fmaf(p, s, -5.37397155531e-2f);
  p = fmaf(p, s, 1.33314422036e-1f);
  p = fmaf(p, s, -3.33332819422e-1f);
  return __builtin_fabsf(x) < 0.625f ? fmaf(p * s, x, x) : 1 - 2 / (expf(2 * x) + 1);
}
__device__ inline float erfcf(float x) {
  const float z = __builtin_fabsf(x), t = 1 / fmaf(0.5f, z, 1.0f);
  float p = 0.17087277f;
  p = fmaf(p, t, -0.82215223f);
  p = fmaf(p, t, 1.48851587f);
  p = fmaf(p, t, -1.13520398f);
  p = fmaf(p, t, 0.27886807f);
  p = fmaf(p, t, -0.18628806f);
  p = fmaf(p, t, 0.09678418f);
  p = fmaf(p, t, 0.37409196f);
  p = fmaf(p, t, 1.00002368f);
  p = fmaf(p, t, -1.26551223f);
  const float tail = t * expf(p - z * z);
  return x < 0 ? 2 - tail : tail;
}
// Only named by kernels that are not translated: they need NVIDIA's device library.
__device__ float expm1f(float);
__device__ float fabsf(float);
__device__ int __ffs(unsigned);
__device__ int __popc(unsigned);
__device__ uint64_t __shfl_sync(unsigned, uint64_t, int, int = 32);
__device__ uint64_t __shfl_up_sync(unsigned, uint64_t, unsigned, int = 32);
__device__ uint64_t __shfl_xor_sync(unsigned, uint64_t, int, int = 32);
__device__ double ceil(double);
__device__ inline uint64_t min(uint64_t a, uint64_t b) { return b < a ? b : a; }
__device__ inline uint64_t max(uint64_t a, uint64_t b) { return a < b ? b : a; }
__device__ inline double min(double a, double b) { return b < a ? b : a; }
__device__ inline double max(double a, double b) { return a < b ? b : a; }
__device__ inline void __syncwarp(unsigned mask = ~0u) { asm volatile("bar.warp.sync %0;" ::"r"(mask) : "memory"); }
__device__ bool __any_sync(unsigned, bool);
__device__ unsigned __ballot_sync(unsigned, bool);
__device__ double exp(double);
__device__ double log(double);
__device__ double sqrt(double);
__device__ double sin(double);
__device__ double cos(double);
__device__ double fabs(double);
__device__ inline unsigned __float_as_uint(float x) { return __builtin_bit_cast(unsigned, x); }
__device__ inline float __uint_as_float(unsigned x) { return __builtin_bit_cast(float, x); }
__device__ inline float __shfl_sync(unsigned mask, float x, int lane, int width = 32) {
  return __nvvm_shfl_sync_idx_f32(mask, x, lane, ((32 - width) << 8) | 0x1f);
}
__device__ inline float __shfl_xor_sync(unsigned mask, float x, int bits, int width = 32) {
  return __nvvm_shfl_sync_bfly_f32(mask, x, bits, ((32 - width) << 8) | 0x1f);
}
__device__ inline double __shfl_xor_sync(unsigned mask, double x, int bits, int width = 32) {
  auto halves = __builtin_bit_cast(float2, x);
  halves.x = __shfl_xor_sync(mask, halves.x, bits, width);
  halves.y = __shfl_xor_sync(mask, halves.y, bits, width);
  return __builtin_bit_cast(double, halves);
}
__device__ inline size_t __cvta_generic_to_shared(const void* p) {
  return (size_t)(__attribute__((address_space(3))) const void*)p;
}
