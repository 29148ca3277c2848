// The CUDA backend. Every .cu file here and in gemm/ is compiled twice, each time in a namespace of its own: with f32 activations,
// and with bf16 ones (-DBTS_BF16), which is what tensor cores multiply; an op NAME is defined in NAME.cu. All of it is executed
// in emulation by tests, not yet on a GPU.
#pragma once

#include <memory>

#include "gpu.cuh"

#if defined(BTS_BF16)
#define BTS_PRECISION with_bf16
#else
#define BTS_PRECISION with_f32
#endif

namespace bts::cuda::BTS_PRECISION {

// The type of activations, and how they are computed.
#if defined(BTS_BF16)
using act = bf16;
using ActMath = FastMath;
#else
using act = float;
using ActMath = Math;
#endif

// The ops' arguments.
#define BTS_OP(Op) using Op = bts::Op<act>;
BTS_OPS(BTS_OP)
#undef BTS_OP

class CudaOps final : public OpsOf<act> {
 public:
  explicit CudaOps(std::shared_ptr<Context> context) : shared_(std::move(context)), context_(*shared_) {}

  int64_t least_rows(bool alone) const override;
#define BTS_OP(Op) void run(const Op& op) override;
  BTS_OPS(BTS_OP)
#undef BTS_OP

 private:
  std::shared_ptr<Context> shared_;  // with the device's memory
  Context& context_;
};

}  // namespace bts::cuda::BTS_PRECISION
