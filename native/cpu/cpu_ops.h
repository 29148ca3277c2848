// The CPU backend. Every file here and in gemm/ is compiled once for each instruction set, each time in a namespace of its own;
// an op NAME is defined in NAME.cc.
#pragma once

#include "../ops.h"
#include "runtime/arena.h"
#include "runtime/thread_pool.h"
#include "vector_math.h"

namespace bts::cpu::BTS_ISA {

// The ops' arguments.
#define BTS_OP(Op) using Op = bts::Op<float>;
BTS_OPS(BTS_OP)
#undef BTS_OP

class CpuOps final : public Ops {
 public:
  CpuOps(int threads, DType precision) : precision_(precision), pool_(threads) {}

  int64_t least_rows(bool alone) const override;
#define BTS_OP(Op) void run(const Op& op) override;
  BTS_OPS(BTS_OP)
#undef BTS_OP

 private:
  DType precision_;  // of the operands of matrix products, see gemm/gemm.h
  ThreadPool pool_;
  Arena scratch_;  // reset at the start of every op that takes from it
};

}  // namespace bts::cpu::BTS_ISA
