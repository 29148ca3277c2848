// One CUDA device as its ops see it: a stream, scratch memory, and errors that say what failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(__CUDACC__)
#include <cuda_runtime.h>
#else
#include "../emulation/cuda_runtime.h"
#endif

namespace bts::cuda {

// Throws OUT_OF_MEMORY or DEVICE_FAILED with the call's name unless the status is success. The queue adds the op's name.
void expect(cudaError_t status, const char* call);
#define CUDA_EXPECT(call) ::bts::cuda::expect(call, #call)

// Device memory of one op: taken piece by piece, given back at once by the next reset, so that after the first steps no op
// allocates. Ops of one stream run one after the other, so the next may have it while this one still runs.
class Scratch {
 public:
  Scratch() = default;
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void reset();
  // n uninitialised elements, 256-byte aligned.
  template <class T>
  T* take(int64_t n) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(n) * sizeof(T)));
  }
  // Another one whenever pieces may lie elsewhere than before.
  uint64_t version() const { return version_; }

 private:
  void* take_bytes(size_t bytes);

  struct Block {
    char* data;
    size_t bytes;
  };
  std::vector<Block> blocks_;
  size_t used_ = 0;   // of the last block
  size_t total_ = 0;  // of all blocks
  uint64_t version_ = 0;
};

class Context {
 public:
  explicit Context(int device);
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  // Makes the device the calling thread's own: every thread that calls CUDA needs it once.
  void bind() const;

  int device() const { return device_; }
  cudaStream_t stream() const { return stream_; }
  // Reset at the start of every op that takes from it.
  Scratch& scratch() { return scratch_; }
  int multiprocessors() const { return multiprocessors_; }
  size_t l2_bytes() const { return l2_bytes_; }
  // The most that one block can have.
  size_t shared_bytes() const { return shared_bytes_; }
  // Whether kernels for Hopper run here (see tensor_map.h).
  bool hopper() const { return hopper_; }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
  int multiprocessors_ = 0;
  size_t shared_bytes_ = 0, l2_bytes_ = 0;
  bool hopper_ = false;
  Scratch scratch_;
};

}  // namespace bts::cuda
