#pragma once

#include <memory>

#include "../../native/ops.h"
#include "context.h"

namespace bts::cuda {

// The ops of cuda_ops.h, compiled for either type of activations.
namespace with_f32 { std::unique_ptr<OpsOf<float>> make_ops(std::shared_ptr<Context> context); }
namespace with_bf16 { std::unique_ptr<OpsOf<BFloat16>> make_ops(std::shared_ptr<Context> context); }

}  // namespace bts::cuda
