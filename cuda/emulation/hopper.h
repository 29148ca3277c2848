// What Hopper adds, on the host: copies of whole tiles that land when they like, barriers of phases that count arrivals and
// bytes, and products of four warps that read shared memory at any time before they are waited for.
#pragma once

#include <initializer_list>

#include "cuda_emu.h"

namespace emu {

// An array of 16-bit elements in device memory, the innermost dimension first, and the box of it that one copy takes: rows
// of at most 64 elements, one after the other.
struct alignas(64) TensorMap {
  static constexpr int kMostDimensions = 4;
  const void* data;
  struct {
    int64_t size, stride_bytes;
    int64_t box;
  } dimensions[kMostDimensions];
  int count;
  char reserved[128 - 8 - kMostDimensions * 24 - 4];
};

void barrier_init(uint64_t* barrier, unsigned count, Place at);
void barrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Place at);
void barrier_wait(uint64_t* barrier, unsigned parity, Place at);

// Of `threads` threads: some wait for the others, some only arrive.
void named_barrier_wait(int number, int threads, Place at);
void named_barrier_arrive(int number, int threads, Place at);

// Copies the box that begins at these places into rows of 128 bytes with the 128-byte swizzle; zeros outside of the array.
// Until it lands, its place holds NaN.
void copy_box(void* to, const TensorMap& map, std::initializer_list<int> places, uint64_t* barrier, Place at);
// Copies bytes as they are.
void copy_bytes(void* to, const void* from, uint32_t bytes, uint64_t* barrier, Place at);

void wgmma_fence();
// d [64, n] += A [64, 16] B [n, 16]^T, or = without `add`. Both are bf16 in shared memory as their descriptors say,
// `transposed` where the product's depth lies across their rows, but that A may be four registers of every lane. Until it
// is waited for, d holds NaN, and nobody may touch the registers.
struct Wgmma {
  struct Shared {
    uint64_t descriptor;
    bool transposed;
  };
  Shared a = {};
  const uint32_t* a_registers = nullptr;
  Shared b = {};
  int n;
  bool add;
};
void wgmma(float* d, const Wgmma& product, Place at);
void wgmma_commit(Place at);
void wgmma_wait(unsigned groups_in_flight, Place at);

}  // namespace emu
