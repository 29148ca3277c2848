// One block a row of logits. The softmax's maximum and sum are found in one pass over them.
#include "reduce.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

// The part of a softmax over some of the logits: exp(x_i - max) summed. A NaN may slip past `max` but never past `sum`.
struct Softmax {
  float max, sum;

  __device__ void merge(float other_max, float other_sum) {
    const float top = fmaxf(max, other_max);
    // Equal maxima are not subtracted: both may be minus infinity, of logits that do not count.
    sum =
        (max == top ? sum : sum * expf(max - top)) + (other_max == top ? other_sum : other_sum * expf(other_max - top));
    max = top;
  }

  // logsumexp(x) - logit: the large terms cancel first, so small losses keep their digits.
  __device__ float loss(float logit) const { return logf(sum) - (logit - max); }
};

constexpr size_t kShared = kThreads / 32 * sizeof(Softmax);

template <int width>
__device__ Softmax softmax_of_row(const act* logits, int64_t V, Softmax* shared) {
  Softmax all{-INFINITY, 0};
  for (int64_t v = threadIdx.x * width; v < V; v += blockDim.x * width) {
    float x[width], top = -INFINITY, sum = 0;
    load(x, logits + v);
    for (int k = 0; k < width; k++) top = fmaxf(top, x[k]);
    // Where all are minus infinity there is nothing to subtract.
    for (int k = 0; k < width; k++) sum += x[k] == -INFINITY ? 0 : expf(x[k] - top);
    all.merge(top, sum);
  }
  for (int bits = 16; bits > 0; bits /= 2) {
    const float max = __shfl_xor_sync(kAllLanes, all.max, bits), sum = __shfl_xor_sync(kAllLanes, all.sum, bits);
    all.merge(max, sum);
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = all;
  __syncthreads();
  Softmax row = shared[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; warp++) row.merge(shared[warp].max, shared[warp].sum);
  return row;
}

template <int width>
__global__ void cross_entropy_forward_kernel(float* losses, const act* logits, const int32_t* targets, int64_t V) {
  DYNAMIC_SHARED(shared);
  const int64_t n = blockIdx.x;
  const int target = targets[n];
  if (target < 0) {
    if (threadIdx.x == 0) losses[n] = 0;
    return;
  }
  const Softmax softmax = softmax_of_row<width>(logits + n * V, V, reinterpret_cast<Softmax*>(shared));
  if (threadIdx.x == 0) losses[n] = softmax.loss(to_float(logits[n * V + target]));
}

// loss = log(sum of exp(x)) - x_target; x = cap tanh(z / cap) where there is a cap. Every thread writes where it alone has
// read, so this may be in place.
template <int width>
__global__ void cross_entropy_backward_kernel(act* dlogits, const float* dlosses, const act* logits,
                                              const int32_t* targets, int64_t V, float softcap) {
  DYNAMIC_SHARED(shared);
  const int64_t n = blockIdx.x;
  const int target = targets[n];
  const act* row = logits + n * V;
  act* drow = dlogits + n * V;
  if (target < 0) {
    const float zero[width] = {};
    for (int64_t v = threadIdx.x * width; v < V; v += blockDim.x * width) store(drow + v, zero);
    return;
  }
  const Softmax softmax = softmax_of_row<width>(row, V, reinterpret_cast<Softmax*>(shared));
  const float scale = dlosses[n] / softmax.sum;
  for (int64_t v = threadIdx.x * width; v < V; v += blockDim.x * width) {
    float x[width];
    load(x, row + v);
    for (int k = 0; k < width; k++) {
      const float slope = softcap > 0 ? capped_slope(x[k], softcap) : 1.0f;
      // exp(-loss) - 1 is softmax_target - 1 without the cancellation.
      x[k] = slope * (v + k == target ? dlosses[n] * expm1f(-softmax.loss(x[k])) : expf(x[k] - softmax.max) * scale);
    }
    store(drow + v, x);
  }
}

}  // namespace

void CudaOps::run(const CrossEntropyForward& op) {
  const auto [logits, targets, losses, N, V] = op;
  with_width(V, {logits}, [&](auto width) {
    GPU_LAUNCH(context_, cross_entropy_forward_kernel<width>, dim3(N), kThreads, kShared, losses, logits, targets, V);
  });
}

void CudaOps::run(const CrossEntropyBackward& op) {
  const auto [dlosses, logits, targets, dlogits, N, V, softcap] = op;
  with_width(V, {dlogits, logits}, [&](auto width) {
    GPU_LAUNCH(context_, cross_entropy_backward_kernel<width>, dim3(N), kThreads, kShared, dlogits, dlosses, logits,
               targets, V, softcap);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
