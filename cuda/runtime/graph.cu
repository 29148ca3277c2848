#include "graph.h"

namespace bts::cuda {

CudaGraph::~CudaGraph() {
  // What fails here has failed before and was said then.
  cudaSetDevice(context_->device());
  forget();
}

void CudaGraph::forget() {
  if (recorded_) {
    cudaStreamSynchronize(context_->stream());
    cudaGraphExecDestroy(recorded_);
  }
  recorded_ = nullptr;
  refused_ = false;
}

bool CudaGraph::launch(const std::function<void()>& work) {
  // Kernels were recorded with the addresses that scratch memory had then.
  if (scratch_ != context_->scratch().version()) forget();
  if (!recorded_ && !refused_) record(work);
  if (!recorded_) return false;
  CUDA_EXPECT(cudaGraphLaunch(recorded_, context_->stream()));
  return true;
}

// What is refused here costs speed, not the result: the work is then queued kernel by kernel.
void CudaGraph::record(const std::function<void()>& work) {
  // In one piece, which is large enough where the work has run before: memory cannot be taken while recording.
  context_->scratch().reset();
  scratch_ = context_->scratch().version();
  refused_ = true;
  // Of this thread alone: others may take memory meanwhile.
  if (cudaStreamBeginCapture(context_->stream(), cudaStreamCaptureModeThreadLocal) == cudaSuccess) {
    bool complete = true;
    try {
      work();
    } catch (const std::exception&) {
      complete = false;
    }
    cudaGraph_t graph = nullptr;
    complete &= cudaStreamEndCapture(context_->stream(), &graph) == cudaSuccess;
    refused_ = !complete || cudaGraphInstantiate(&recorded_, graph, 0) != cudaSuccess;
    if (refused_) recorded_ = nullptr;
    if (graph) cudaGraphDestroy(graph);
  }
  if (refused_) cudaGetLastError();
}

}  // namespace bts::cuda
