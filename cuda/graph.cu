#include "graph.h"

namespace bts::cuda {

CudaGraph::~CudaGraph() {
  // What fails here has failed before and was said then.
  cudaSetDevice(context_->device());
  if (recorded_) cudaStreamSynchronize(context_->stream());
  forget();
}

void CudaGraph::forget() {
  if (recorded_) cudaGraphExecDestroy(recorded_);
  recorded_ = nullptr;
}

void CudaGraph::launch(const std::function<void()>& work) {
  // Kernels were recorded with the addresses that scratch memory had then.
  if (scratch_ != context_->scratch().version()) forget();
  if (!recorded_ && !refused_) record(work);
  if (recorded_) CUDA_EXPECT(cudaGraphLaunch(recorded_, context_->stream()));
  else work();
}

// A driver that refuses costs speed, not the result: the work is then queued kernel by kernel.
void CudaGraph::record(const std::function<void()>& work) {
  // In one piece, which is large enough since the work has run before: memory cannot be taken while recording.
  context_->scratch().reset();
  scratch_ = context_->scratch().version();
  // Of this thread alone: others may take memory meanwhile.
  CUDA_EXPECT(cudaStreamBeginCapture(context_->stream(), cudaStreamCaptureModeThreadLocal));
  bool complete = true;
  try {
    work();
  } catch (const std::exception&) {
    complete = false;
  }
  cudaGraph_t graph = nullptr;
  complete &= cudaStreamEndCapture(context_->stream(), &graph) == cudaSuccess;
  if (complete && cudaGraphInstantiate(&recorded_, graph, 0) != cudaSuccess) recorded_ = nullptr;
  if (graph) cudaGraphDestroy(graph);
  refused_ = !recorded_;
  if (refused_) cudaGetLastError();
}

}  // namespace bts::cuda
