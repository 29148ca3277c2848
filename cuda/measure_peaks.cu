// What a benchmark measures itself against: products in registers, and reads of memory that no cache holds.
#include <algorithm>

#include "reduce.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kChains = 8;     // independent sums of a thread, or a warp: they hide the latency of a product
constexpr float kEnough = 20;  // milliseconds after which a measurement counts
constexpr int64_t kMostRounds = 1 << 20;
constexpr int kBlocksPerProcessor = 8;

#if defined(BTS_BF16)

constexpr double kFlopsOfWarp = 2.0 * 16 * 8 * 16 * kChains;  // in a round

__global__ void multiply_kernel(float* sink, int64_t rounds) {
  const uint32_t a[4] = {threadIdx.x, 1, 2, 3}, b[2] = {4, 5};  // tiny numbers
  float sums[kChains][4] = {};
  for (int64_t round = 0; round < rounds; round++)
    for (int chain = 0; chain < kChains; chain++) mma_m16n8k16_bf16(sums[chain], a, b);
  float sum = 0;
  for (int chain = 0; chain < kChains; chain++) sum += sums[chain][0];
  if (sum == 1) *sink = sum;  // never, but the compiler does not know
}

#else

constexpr double kFlopsOfWarp = 2.0 * 32 * kChains;

__global__ void multiply_kernel(float* sink, int64_t rounds) {
  const float factor = 0.5f + 1e-9f * threadIdx.x;
  float sums[kChains] = {};
  for (int64_t round = 0; round < rounds; round++)
    for (int chain = 0; chain < kChains; chain++) sums[chain] = fmaf(sums[chain], factor, 1.0f);
  float sum = 0;
  for (int chain = 0; chain < kChains; chain++) sum += sums[chain];
  if (sum == 1) *sink = sum;  // never, but the compiler does not know
}

#endif

__global__ void read_kernel(float* sink, const float* from, int64_t packs) {
  float sum = 0;
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float x[kWide];
    load(x, from + i * kWide);
    for (int k = 0; k < kWide; k++) sum += x[k];
  }
  if (sum == 1) *sink = sum;  // never: the memory is all zeros
}

// Device memory and events of one measurement.
class Bench {
 public:
  explicit Bench(size_t bytes) {
    CUDA_EXPECT(cudaMalloc(&memory_, bytes));
    CUDA_EXPECT(cudaEventCreateWithFlags(&begin_, cudaEventDefault));
    CUDA_EXPECT(cudaEventCreateWithFlags(&end_, cudaEventDefault));
  }
  ~Bench() {
    cudaFree(memory_);
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  float* memory() const { return static_cast<float*>(memory_); }

  // Milliseconds between the device's begin and end of what f queues.
  template <class F>
  float time(cudaStream_t stream, F&& f) {
    CUDA_EXPECT(cudaEventRecord(begin_, stream));
    f();
    CUDA_EXPECT(cudaEventRecord(end_, stream));
    CUDA_EXPECT(cudaEventSynchronize(end_));
    float milliseconds = 0;
    CUDA_EXPECT(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return milliseconds;
  }

 private:
  void* memory_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

void CudaOps::run(const MeasurePeaks& op) {
  const cudaStream_t stream = context_.stream();
  const size_t bytes = std::max<size_t>(1 << 20, 8 * context_.l2_bytes());
  const dim3 grid(kBlocksPerProcessor * context_.multiprocessors());
  Bench bench(bytes);
  CUDA_EXPECT(cudaMemsetAsync(bench.memory(), 0, bytes, stream));

  double flops = 0, bandwidth = 0;
  for (int64_t rounds = 64; rounds <= kMostRounds; rounds *= 4) {
    const float took =
        bench.time(stream, [&] { GPU_LAUNCH(context_, multiply_kernel, grid, kThreads, 0, bench.memory(), rounds); });
    flops = kFlopsOfWarp * rounds * grid.x * (kThreads / 32) / (took * 1e-3);
    if (took > kEnough) break;
  }
  for (int times = 1; times <= 4; times++) {
    const float took = bench.time(stream, [&] {
      GPU_LAUNCH(context_, read_kernel, grid, kThreads, 0, bench.memory(), bench.memory(),
                 bytes / (kWide * sizeof(float)));
    });
    bandwidth = std::max(bandwidth, bytes / (took * 1e-3));
  }
  const float measured[2] = {float(flops), float(bandwidth)};
  CUDA_EXPECT(cudaMemcpyAsync(op.peaks, measured, sizeof measured, cudaMemcpyHostToDevice, stream));
  CUDA_EXPECT(cudaStreamSynchronize(stream));
}

}  // namespace bts::cuda::BTS_PRECISION
