// Many arrays of all sizes are updated by few launches: each takes a list of arrays and cuts them into chunks.
#include <algorithm>
#include <cmath>
#include <vector>

#include "reduce.cuh"
#include "vectors.cuh"

#include "ops_cuda.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kArrays = 48;                    // that one launch takes: their list fits the 4 KiB of a kernel's arguments
constexpr int64_t kChunk = 16 * kThreads;      // elements that one block works on
constexpr size_t kShared = kThreads / 32 * sizeof(double);

struct Chunk {
  int array;
  int64_t begin, end;
};

// `count` arrays, each cut into chunks of its own.
struct Cut {
  int count = 0;
  int first_chunk[kArrays + 1] = {};
  int64_t size[kArrays];

  void add(int64_t elements) {
    size[count] = elements;
    first_chunk[count + 1] = first_chunk[count] + static_cast<int>((elements + kChunk - 1) / kChunk);
    count++;
  }
  int chunks() const { return first_chunk[count]; }

  __device__ Chunk at(int chunk) const {
    int array = 0;
    while (first_chunk[array + 1] <= chunk) array++;
    const int64_t begin = (chunk - first_chunk[array]) * kChunk;
    return {array, begin, begin + kChunk < size[array] ? begin + kChunk : size[array]};
  }
};

struct Squared {
  Cut cut;
  const float* gradients[kArrays];
};

// partial[chunk] = the sum of its squares, in f64
__global__ void squares_kernel(double* partial, Squared list) {
  DYNAMIC_SHARED(shared);
  const Chunk chunk = list.cut.at(blockIdx.x);
  const float* g = list.gradients[chunk.array];
  double sum = 0;
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) sum += double(g[i]) * g[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void norm_kernel(float* norm, const double* partial, int64_t chunks) {
  DYNAMIC_SHARED(shared);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) norm[0] = float(sqrt(sum));
}

// What is the same for every parameter of one step.
struct Step {
  float clip_norm, beta1, rest1, beta2, rest2, decay, size, correction2, epsilon;
};

struct Updated {
  Cut cut;
  float *parameters[kArrays], *first_moments[kArrays], *second_moments[kArrays];
  const float* gradients[kArrays];
};

__global__ void adamw_kernel(Updated list, const float* norm, Step step) {
  if (!(fabsf(norm[0]) < INFINITY)) return;
  const Chunk chunk = list.cut.at(blockIdx.x);
  const float clip = fminf(1.0f, step.clip_norm / (norm[0] + 1e-6f));
  float* p = list.parameters[chunk.array];
  float* m = list.first_moments[chunk.array];
  float* v = list.second_moments[chunk.array];
  const float* gradient = list.gradients[chunk.array];
  for (int64_t i = chunk.begin + threadIdx.x; i < chunk.end; i += blockDim.x) {
    const float g = clip * gradient[i];
    const float first = step.beta1 * m[i] + step.rest1 * g, second = step.beta2 * v[i] + step.rest2 * g * g;
    m[i] = first;
    v[i] = second;
    p[i] = step.decay * p[i] - step.size * first / (sqrtf(second) / step.correction2 + step.epsilon);
  }
}

// Calls f(first, last) for runs of arrays that fit one launch.
template <class F>
void for_lists(size_t arrays, F&& f) {
  for (size_t first = 0; first < arrays; first += kArrays) f(first, std::min<size_t>(arrays, first + kArrays));
}

}  // namespace

void CudaOps::global_norm(float* norm, Arrays gradients) {
  int64_t chunks = 0;
  for (const Array& array : gradients) chunks += (array.size + kChunk - 1) / kChunk;
  context_.scratch().reset();
  auto* partial = context_.scratch().take<double>(chunks);
  double* next = partial;
  for_lists(gradients.size(), [&](size_t first, size_t last) {
    Squared list;
    for (size_t i = first; i < last; i++) {
      list.gradients[list.cut.count] = gradients[i].data;
      list.cut.add(gradients[i].size);
    }
    GPU_LAUNCH(context_, squares_kernel, dim3(list.cut.chunks()), kThreads, kShared, next, list);
    next += list.cut.chunks();
  });
  GPU_LAUNCH(context_, norm_kernel, dim3(1), kThreads, kShared, norm, partial, chunks);
}

void CudaOps::adamw(Arrays parameters, Arrays gradients, Arrays first_moments, Arrays second_moments, const float* norm,
                    const AdamW& options) {
  // In f64: 1 - beta and 1 - beta^step would lose digits in f32.
  const double beta1 = options.beta1, beta2 = options.beta2, rate = options.learning_rate;
  const Step step{
      .clip_norm = float(options.clip_norm),
      .beta1 = float(beta1),
      .rest1 = float(1 - beta1),
      .beta2 = float(beta2),
      .rest2 = float(1 - beta2),
      .decay = float(1 - rate * options.weight_decay),
      .size = float(rate / (1 - std::pow(beta1, options.step))),
      .correction2 = float(std::sqrt(1 - std::pow(beta2, options.step))),
      .epsilon = float(options.epsilon),
  };
  for_lists(parameters.size(), [&](size_t first, size_t last) {
    Updated list;
    for (size_t i = first; i < last; i++) {
      const int at = list.cut.count;
      list.parameters[at] = parameters[i].data;
      list.first_moments[at] = first_moments[i].data;
      list.second_moments[at] = second_moments[i].data;
      list.gradients[at] = gradients[i].data;
      list.cut.add(parameters[i].size);
    }
    GPU_LAUNCH(context_, adamw_kernel, dim3(list.cut.chunks()), kThreads, 0, list, norm, step);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
