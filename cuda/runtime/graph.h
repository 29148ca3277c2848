// A program's kernels as one launch: a CUDA graph.
#pragma once

#include <memory>

#include "../../native/backend.h"
#include "context.h"

namespace bts::cuda {

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(std::shared_ptr<Context> context) : context_(std::move(context)) {}
  ~CudaGraph() override;

  bool launch(const std::function<void()>& work) override;

 private:
  void record(const std::function<void()>& work);
  void forget();

  std::shared_ptr<Context> context_;
  cudaGraphExec_t recorded_ = nullptr;
  uint64_t scratch_ = 0;  // its version when `recorded_` was made
  bool refused_ = false;  // with scratch memory as it was then
};

}  // namespace bts::cuda
