// Matrix products by blocks (Goto & van de Geijn 2008): a block of the right operand is packed into the second-level cache,
// widened to f32 or rounded to bf16, and the rows of the left one pass by it. Every element of the result is summed in f32
// over the depth in one order, which depends on no thread count.
#pragma once

#include <span>

#include "../runtime/arena.h"
#include "../runtime/thread_pool.h"
#include "packing.h"

namespace bts::cpu::BTS_ISA {

// C = A B (+ C if accumulate) (+ bias per column) (+ residual)      A [rows, depth]  B [depth, cols]  C [rows, cols]
// A holds f32 and is contiguous along its rows or along its columns; for multiply_alone along its rows, and beside
// `precision` bf16 it is what rounded_left says.
struct Product {
  Matrix a, b;
  float* c;
  int64_t c_stride;
  int64_t rows, cols, depth;
  bool accumulate = false;
  const Weight* bias = nullptr;
  const float* residual = nullptr;  // same layout as c, and may be c; not beside accumulate
  bool alone = false;  // each row is what it would be without the others: all stream, if they lie along the depth
};

// Computes all products, cut into tasks for the pool's threads. `precision` is that of operands: f32, or bf16 for processors
// that multiply it. Few rows wait for memory: streams stay in f32.
void multiply(std::span<const Product> products, DType precision, ThreadPool& pool, Arena& scratch);

// What multiply_alone reads as the left operand: beside precision bf16 a copy in scratch memory, rounded once for all that
// passes by it. Its rows hold pairs, and are whole tiles.
Matrix rounded_left(const Product& product, DType precision, ThreadPool& pool, Arena& scratch);

// Computes one product by tiles on the calling thread, as part of a task; `workspace` holds workspace_floats().
void multiply_alone(const Product& product, DType precision, float* workspace);
int64_t workspace_floats();

}  // namespace bts::cpu::BTS_ISA
