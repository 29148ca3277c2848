// One block a row of logits, which is read once: its softmax's maximum and sum are found together, and where the gradient
// follows, registers keep it.
#include "reduce.cuh"
#include "span.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

// Packs that a thread reads at once, and the most threads of a row: the backward has room for what the paper's vocabulary
// takes, 32000, with two blocks on a multiprocessor.
constexpr int kRead = 8 / sizeof(act), kKept = 16 / sizeof(act);
constexpr unsigned kForwardThreads = 256, kBackwardThreads = 512;

// The part of a softmax over some of the logits: exp(x_i - max) summed. A NaN may slip past `max` but never past `sum`.
struct Softmax {
  float max, sum;

  __device__ __forceinline__ void merge(const Softmax& other) {
    const float top = fmaxf(max, other.max), base = base_of(top);
    sum = sum * ActMath::exp(max - base) + other.sum * ActMath::exp(other.max - base);
    max = top;
  }

  // What to subtract: nothing from logits that are all minus infinity.
  __device__ __forceinline__ static float base_of(float max) { return max == -INFINITY ? 0.0f : max; }

  // logsumexp(x) - logit: the large terms cancel first, so small losses keep their digits.
  __device__ float loss(float logit) const { return logf(sum) - (logit - max); }
};

template <class Part>
__device__ __forceinline__ Softmax softmax_of(const Part& part) {
  Softmax result{-INFINITY, 0};
  part.for_packs([&](int i, int) {
    float x[Part::kWidth];
    part.get(x, i);
    for (const float logit : x) result.max = fmaxf(result.max, logit);
  });
  const float base = Softmax::base_of(result.max);
  part.for_packs([&](int i, int) {
    float x[Part::kWidth];
    part.get(x, i);
    for (const float logit : x) result.sum += ActMath::exp(logit - base);
  });
  return result;
}

// Of the whole row, in every thread.
template <class First, class Rest>
__device__ __forceinline__ Softmax softmax_of_row(const First& first, const Rest& rest, int V, float* shared) {
  Softmax own{-INFINITY, 0};
  for_spans(first, rest, V, [&](const auto& part) { own.merge(softmax_of(part)); });
  const float top = block_max(own.max, shared);
  return {top, block_sum(own.sum * ActMath::exp(own.max - Softmax::base_of(top)), shared)};
}

template <int width>
__global__ void __launch_bounds__(kForwardThreads) cross_entropy_forward_kernel(float* losses, const act* logits,
                                                                                const int32_t* targets, int V) {
  DYNAMIC_SHARED(shared);
  const int64_t n = blockIdx.x;
  const int target = targets[n];
  if (target < 0) {
    if (threadIdx.x == 0) losses[n] = 0;
    return;
  }
  const auto part = [row = logits + n * V, V](int begin) { return Span<act, width, kRead>(row, begin, V); };
  const Softmax softmax = softmax_of_row(part(0), part, V, reinterpret_cast<float*>(shared));
  if (threadIdx.x == 0) losses[n] = softmax.loss(to_float(logits[n * V + target]));
}

// loss = log(sum of exp(x)) - x_target; x = cap tanh(z / cap) where there is a cap. Every thread writes where it alone has
// read, so this may be in place.
template <int width>
__global__ void __launch_bounds__(kBackwardThreads, 2) cross_entropy_backward_kernel(
    act* dlogits, const float* dlosses, const act* logits, const int32_t* targets, int V, float softcap) {
  DYNAMIC_SHARED(shared);
  const int64_t n = blockIdx.x;
  const int target = targets[n];
  const act* row = logits + n * V;
  act* drow = dlogits + n * V;
  if (target < 0) {
    const float zero[width] = {};
    for (int v = threadIdx.x * width; v < V; v += blockDim.x * width) store(drow + v, zero);
    return;
  }
  const float aimed = to_float(row[target]), dloss = dlosses[n];
  const Span<act, width, kKept> first(row, 0, V);
  const auto rest = [=](int begin) { return Span<act, width, 1>(row, begin, V); };
  const Softmax softmax = softmax_of_row(first, rest, V, reinterpret_cast<float*>(shared));
  // exp(-loss) - 1 is softmax_target - 1 without the cancellation.
  const float scale = dloss / softmax.sum, at_target = dloss * expm1f(-softmax.loss(aimed));
  for_spans(first, rest, V, [&](const auto& part) {
    part.for_packs([&](int i, int v) {
      float x[width], d[width];
      part.get(x, i);
      for (int k = 0; k < width; k++) d[k] = ActMath::exp(x[k] - softmax.max) * scale;
      if (v <= target && target < v + width)
        for (int k = 0; k < width; k++) d[k] = v + k == target ? at_target : d[k];
      if (softcap > 0)
        for (int k = 0; k < width; k++) d[k] *= capped_slope(x[k], softcap);
      store(drow + v, d);
    });
  });
}

constexpr size_t shared_bytes(unsigned threads) { return threads / 32 * sizeof(float); }

}  // namespace

void CudaOps::run(const CrossEntropyForward& op) {
  const auto [logits, targets, losses, N, V] = op;
  with_width(V, {logits}, [&](auto width) {
    const unsigned threads = threads_of_row(V / width, kRead, kForwardThreads);
    GPU_LAUNCH(context_, cross_entropy_forward_kernel<width>, dim3(N), threads, shared_bytes(threads), losses, logits,
               targets, V);
  });
}

void CudaOps::run(const CrossEntropyBackward& op) {
  const auto [dlosses, logits, targets, dlogits, N, V, softcap] = op;
  with_width(V, {dlogits, logits}, [&](auto width) {
    const unsigned threads = threads_of_row(V / width, kKept, kBackwardThreads);
    GPU_LAUNCH(context_, cross_entropy_backward_kernel<width>, dim3(N), threads, shared_bytes(threads), dlogits,
               dlosses, logits, targets, V, softcap);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
