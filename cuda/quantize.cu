#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

// No device of this backend has such a matrix (Backend::holds_quantized).
void CudaOps::run(const Quantize& op) { throw Error("NO_DEVICE", std::string("not computed here: ") + op.name); }

void CudaOps::run(const Dequantize& op) { throw Error("NO_DEVICE", std::string("not computed here: ") + op.name); }

}  // namespace bts::cuda::BTS_PRECISION
