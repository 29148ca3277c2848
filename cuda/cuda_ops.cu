#include "cuda_ops.h"

#include "runtime/factory.h"

namespace bts::cuda::BTS_PRECISION {

std::unique_ptr<OpsOf<act>> make_ops(std::shared_ptr<Context> context) {
  return std::make_unique<CudaOps>(std::move(context));
}

}  // namespace bts::cuda::BTS_PRECISION
