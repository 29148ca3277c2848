#include "context.h"

#include <string>

#include "../../native/error.h"
#include "tensor_map.h"

namespace bts::cuda {

void expect(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what is not the device's end is forgotten
  const std::string message = std::string(call) + " failed: " + cudaGetErrorString(status) + " (" +
                              cudaGetErrorName(status) + ", " + std::to_string(static_cast<int>(status)) + ")";
  throw Error(status == cudaErrorMemoryAllocation ? "OUT_OF_MEMORY" : "DEVICE_FAILED", message);
}

Scratch::~Scratch() {
  for (const Block& block : blocks_) cudaFree(block.data);
}

void Scratch::reset() {
  used_ = 0;
  if (blocks_.size() <= 1) return;
  // The last op needed several blocks; the next one gets their sum in one piece.
  const size_t total = total_;
  for (const Block& block : blocks_) CUDA_EXPECT(cudaFree(block.data));  // waits for the work that uses it
  blocks_.clear();
  total_ = 0;
  take_bytes(total);
  used_ = 0;
}

void* Scratch::take_bytes(size_t bytes) {
  const size_t rounded = (bytes + 255) / 256 * 256;
  if (blocks_.empty() || used_ + rounded > blocks_.back().bytes) {
    void* data = nullptr;
    CUDA_EXPECT(cudaMalloc(&data, rounded ? rounded : 256));
    blocks_.push_back({static_cast<char*>(data), rounded ? rounded : 256});
    total_ += blocks_.back().bytes;
    version_++;
    used_ = 0;
  }
  void* piece = blocks_.back().data + used_;
  used_ += rounded;
  return piece;
}

Context::Context(int device) : device_(device) {
  bind();
  cudaDeviceProp properties;
  CUDA_EXPECT(cudaGetDeviceProperties(&properties, device));
  multiprocessors_ = properties.multiProcessorCount;
  shared_bytes_ = properties.sharedMemPerBlockOptin;
  l2_bytes_ = properties.l2CacheSize;
#if defined(BTS_HOPPER)
  hopper_ = properties.major == 9;
#endif
  CUDA_EXPECT(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
}

Context::~Context() {
  // Whoever ends a device may never have called CUDA. What fails here has failed before and was said then.
  cudaSetDevice(device_);
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

void Context::bind() const { CUDA_EXPECT(cudaSetDevice(device_)); }

}  // namespace bts::cuda
