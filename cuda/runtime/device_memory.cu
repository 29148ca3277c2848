#include "device_memory.h"

#include <algorithm>
#include <cstring>

namespace bts::cuda {

void* CudaMemory::take(size_t bytes, size_t) {
  context_->bind();
  void* block = nullptr;
  const cudaError_t status = cudaMalloc(&block, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // said by the null
    return nullptr;
  }
  expect(status, "cudaMalloc");
  return block;
}

void CudaMemory::give(void* block, size_t) {
  // Waits for the device. What fails here has failed before and was said then.
  cudaSetDevice(context_->device());
  cudaFree(block);
}

Memory::Capacity CudaMemory::capacity() {
  context_->bind();
  Capacity capacity{};
  CUDA_EXPECT(cudaMemGetInfo(&capacity.free, &capacity.total));
  return capacity;
}

void CudaMemory::write(void* to, size_t bytes, const Source& source) {
  for (size_t done = 0; done < bytes; done += Staging::kBytes) {
    const size_t part = std::min(Staging::kBytes, bytes - done);
    Staging& staging = staging_[next_++ % staging_.size()];
    char* data = staging.claim();
    source(data, done, part);
    CUDA_EXPECT(cudaMemcpyAsync(static_cast<char*>(to) + done, data, part, cudaMemcpyHostToDevice, context_->stream()));
    staging.release(context_->stream());
  }
}

void CudaMemory::read(void* to, const void* from, size_t bytes) {
  synchronize();
  char* data = bytes ? staging_[next_ % staging_.size()].claim() : nullptr;
  for (size_t done = 0; done < bytes; done += Staging::kBytes) {
    const size_t part = std::min(Staging::kBytes, bytes - done);
    CUDA_EXPECT(cudaMemcpyAsync(data, static_cast<const char*>(from) + done, part, cudaMemcpyDeviceToHost,
                                context_->stream()));
    synchronize();
    std::memcpy(static_cast<char*>(to) + done, data, part);
  }
}

bool CudaMemory::is_idle() {
  const cudaError_t status = cudaStreamQuery(context_->stream());
  if (status == cudaErrorNotReady) return false;
  expect(status, "cudaStreamQuery");
  return true;
}

void CudaMemory::synchronize() { CUDA_EXPECT(cudaStreamSynchronize(context_->stream())); }

}  // namespace bts::cuda
