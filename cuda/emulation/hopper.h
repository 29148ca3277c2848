// What Hopper adds, on the host: copies of whole tiles that land when they like, barriers of phases that count arrivals and
// bytes, and products of four warps that read shared memory at any time before they are waited for.
#pragma once

#include "cuda_emu.h"

namespace emu {

// A matrix of 16-bit elements in device memory and the box of it that one copy takes, at most 64 elements wide.
struct alignas(64) TensorMap {
  const void* data;
  int64_t rows, cols, stride_bytes;
  uint32_t box_rows, box_cols;
  char reserved[128 - 4 * 8 - 2 * 4];
};

void barrier_init(uint64_t* barrier, unsigned count, Place at);
void barrier_arrive(uint64_t* barrier, uint32_t expected_bytes, Place at);
void barrier_wait(uint64_t* barrier, unsigned parity, Place at);

// Copies the box at (row, col) into rows of 128 bytes with the 128-byte swizzle; zeros outside of the matrix. Until it
// lands, its place holds NaN.
void copy_box(void* to, const TensorMap& map, int col, int row, uint64_t* barrier, Place at);

void wgmma_fence();
// d [64, n] += A [64, 16] B [n, 16]^T, both bf16 in shared memory as their descriptors say; `transposed` ones have the
// product's depth across their rows. Until it is waited for, d holds NaN.
struct Wgmma {
  uint64_t a, b;
  bool a_transposed, b_transposed;
  int n;
};
void wgmma(float* d, const Wgmma& product, Place at);
void wgmma_commit(Place at);
void wgmma_wait(unsigned groups_in_flight, Place at);

}  // namespace emu
