// Device memory and copies to and from it, through pinned host memory so that copies to the device run beside the host.
#pragma once

#include <array>
#include <memory>

#include "../../native/backend.h"
#include "context.h"

namespace bts::cuda {

// Host memory that the device copies from and to by itself, in turns.
class Staging {
 public:
  static constexpr size_t kBytes = 1 << 20;

  Staging() {
    CUDA_EXPECT(cudaHostAlloc(&data_, kBytes, cudaHostAllocDefault));
    CUDA_EXPECT(cudaEventCreateWithFlags(&free_, cudaEventDisableTiming));
  }
  ~Staging() {
    cudaFreeHost(data_);
    cudaEventDestroy(free_);
  }
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Waits until the last copy from here has been made.
  char* claim() {
    CUDA_EXPECT(cudaEventSynchronize(free_));
    return static_cast<char*>(data_);
  }
  // Behind the copy that was queued last.
  void release(cudaStream_t stream) { CUDA_EXPECT(cudaEventRecord(free_, stream)); }

 private:
  void* data_ = nullptr;
  cudaEvent_t free_ = nullptr;
};

class CudaMemory final : public Memory {
 public:
  explicit CudaMemory(std::shared_ptr<Context> context) : context_(std::move(context)) {}

  void* take(size_t bytes, size_t reserved) override;
  void give(void* block, size_t bytes) override;
  Capacity capacity() override;
  // Where this fails, whatever the thread does next fails too and says so.
  void enter() override { cudaSetDevice(context_->device()); }
  void write(void* to, size_t bytes, const Source& source) override;
  void read(void* to, const void* from, size_t bytes) override;
  void synchronize() override;
  bool is_host() const override { return false; }
  bool is_idle() override;
  void* stream() override { return context_->stream(); }

 private:
  std::shared_ptr<Context> context_;
  std::array<Staging, 8> staging_;
  size_t next_ = 0;
};

}  // namespace bts::cuda
