// CUDA behind native/backend.h: which GPUs there are, their memory, and the ops over it.
#include <memory>
#include <string>

#include "../../native/backend.h"
#include "../../native/error.h"
#include "context.h"
#include "device_memory.h"
#include "event_clock.h"
#include "factory.h"
#include "graph.h"

namespace bts {

namespace cuda {

namespace {

constexpr int kLeastMajor = 8;  // bf16 tensor cores and asynchronous copies begin with sm_80

std::string describe(const cudaDeviceProp& gpu) {
  return std::string(gpu.name) + ", compute capability " + std::to_string(gpu.major) + "." + std::to_string(gpu.minor) +
         ", " + std::to_string(gpu.totalGlobalMem >> 20) + " MiB";
}

int count_gpus() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count > 0) return count;
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver)
    throw Error("NO_DEVICE", "the NVIDIA driver is missing or too old: this build needs one for CUDA " +
                                 std::to_string(CUDART_VERSION / 1000) + ", that is r580 or newer");
  if (status == cudaSuccess || status == cudaErrorNoDevice) throw Error("NO_DEVICE", "the NVIDIA driver sees no GPU");
  throw Error("NO_DEVICE", std::string("the NVIDIA driver does not start: ") + cudaGetErrorString(status) + " (" +
                               cudaGetErrorName(status) + ")");
}

}  // namespace

}  // namespace cuda

std::vector<Variant> variants() {
  std::vector<Variant> list;
  for (int device = 0, count = cuda::count_gpus(); device < count; device++) {
    cudaDeviceProp gpu;
    CUDA_EXPECT(cudaGetDeviceProperties(&gpu, device));
    const bool supported = gpu.major >= cuda::kLeastMajor;
    std::string detail = cuda::describe(gpu);
    if (!supported) detail += ": older than compute capability 8.0, which it needs";
    list.push_back({std::to_string(device), supported, std::move(detail)});
  }
  return list;
}

Backend open_backend(const std::string& variant, int, DType precision) {
  const auto list = variants();
  std::string known;
  for (size_t device = 0; device < list.size(); device++) {
    const auto& [name, supported, detail] = list[device];
    known.append(known.empty() ? "" : "; ").append(name).append(": ").append(detail);
    if (!supported || (!variant.empty() && variant != name)) continue;
    auto context = std::make_shared<cuda::Context>(static_cast<int>(device));
    Backend backend{std::make_unique<cuda::CudaMemory>(context), std::make_unique<cuda::EventClock>(context), {}};
    backend.make_graph = [context] { return std::make_unique<cuda::CudaGraph>(context); };
    if (precision == DType::F32) backend.ops = cuda::with_f32::make_ops(std::move(context));
    else if (precision == DType::BF16) backend.ops = cuda::with_bf16::make_ops(std::move(context));
    else throw Error("BAD_OPTION", "CUDA computes activations in f32 or bf16");
    return backend;
  }
  throw Error("NO_DEVICE", variant.empty() ? "no GPU can be used; there are " + known
                                           : "GPU " + variant + " cannot be used; there are " + known);
}

}  // namespace bts
