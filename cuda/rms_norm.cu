// Rows up to kWarpRow packs are a warp's work, four rows a block; longer ones are a block's.
#include "members.cuh"
#include "reduce.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kWarpRow = 128;        // packs
constexpr int64_t kRowsSummed = 64;  // rows whose weight gradients one thread sums
constexpr int kWarps = kThreads / 32;
constexpr size_t kShared = kWarps * sizeof(float);

// The shape of a block, and how many it takes for all rows.
struct Rows {
  dim3 grid, block;
  Rows(int64_t rows, int64_t packs) : block(packs <= kWarpRow ? dim3(32, kWarps) : dim3(kThreads)) {
    grid = dim3((rows + block.y - 1) / block.y);
  }
};
__device__ int64_t row_of_thread() { return int64_t(blockIdx.x) * blockDim.y + threadIdx.y; }

// 1 / sqrt(mean(x^2) + epsilon), the same in all threads of the row.
template <int width>
__device__ float inverse_rms(const act* x, int64_t C, float epsilon, float* shared) {
  float squares = 0;
  for (int64_t c = threadIdx.x * width; c < C; c += blockDim.x * width) {
    float in[width];
    load(in, x + c);
    for (int k = 0; k < width; k++) squares += in[k] * in[k];
  }
  return 1 / sqrtf(block_sum(squares, shared) / C + epsilon);
}

template <int width>
__global__ void rms_norm_forward_kernel(act* y, const act* x, WeightList weight, const act* residual, int64_t N,
                                        int64_t C, int64_t rows, float epsilon, float offset) {
  DYNAMIC_SHARED(shared);
  const int64_t row = row_of_thread();
  if (row >= rows) return;
  const float r = inverse_rms<width>(x + row * C, C, epsilon, reinterpret_cast<float*>(shared));
  with_reader(weight, row / N, [&](auto w) {
    for (int64_t c = threadIdx.x * width; c < C; c += blockDim.x * width) {
      float in[width];
      load(in, x + row * C + c);
      for (int k = 0; k < width; k++) in[k] *= r * (offset + w[c + k]);
      if (residual) {
        float plus[width];
        load(plus, residual + row * C + c);
        for (int k = 0; k < width; k++) in[k] += plus[k];
      }
      store(y + row * C + c, in);
    }
  });
}

// y = x r w, where r depends on every x: dr/dx = -x r^3 / C
template <int width>
__global__ void rms_norm_backward_input_kernel(act* dx, const act* dy, const act* x, WeightList weight, int64_t N,
                                               int64_t C, int64_t rows, float epsilon, float offset, bool accumulate) {
  DYNAMIC_SHARED(shared);
  const int64_t row = row_of_thread(), first = row * C;
  if (row >= rows) return;
  auto* sums = reinterpret_cast<float*>(shared);
  const float r = inverse_rms<width>(x + first, C, epsilon, sums);
  with_reader(weight, row / N, [&](auto w) {
    float dot = 0;
    for (int64_t c = threadIdx.x * width; c < C; c += blockDim.x * width) {
      float in[width], d[width];
      load(in, x + first + c);
      load(d, dy + first + c);
      for (int k = 0; k < width; k++) dot += d[k] * (offset + w[c + k]) * in[k];
    }
    const float along_x = block_sum(dot, sums) / C * r * r;
    for (int64_t c = threadIdx.x * width; c < C; c += blockDim.x * width) {
      float in[width], d[width], before[width];
      load(in, x + first + c);
      load(d, dy + first + c);
      if (accumulate) load(before, dx + first + c);
      for (int k = 0; k < width; k++) {
        d[k] = r * (d[k] * (offset + w[c + k]) - in[k] * along_x);
        if (accumulate) d[k] += before[k];
      }
      store(dx + first + c, d);
    }
  });
}

template <int width>
__global__ void inverse_rms_kernel(float* r, const act* x, int64_t C, int64_t rows, float epsilon) {
  DYNAMIC_SHARED(shared);
  const int64_t row = row_of_thread();
  if (row >= rows) return;
  const float result = inverse_rms<width>(x + row * C, C, epsilon, reinterpret_cast<float*>(shared));
  if (threadIdx.x == 0) r[row] = result;
}

// partial[m, block, c] = sum over the block's rows of dy x r
__global__ void weight_partials_kernel(float* partial, const act* dy, const act* x, const float* r, int64_t N,
                                       int64_t C) {
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, block = blockIdx.y, m = blockIdx.z;
  if (c >= C) return;
  const int64_t begin = block * kRowsSummed, end = begin + kRowsSummed < N ? begin + kRowsSummed : N;
  double sum = 0;  // memory is slower still, and many rows may cancel
  for (int64_t row = m * N + begin; row < m * N + end; row++)
    sum += to_float(dy[row * C + c]) * to_float(x[row * C + c]) * r[row];
  partial[(m * gridDim.y + block) * C + c] = float(sum);
}

__global__ void weight_sums_kernel(const __grid_constant__ GradientList dweight, const float* partial, int64_t blocks,
                                   int64_t C) {
  const int64_t c = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, m = blockIdx.y;
  if (c >= C) return;
  double sum = 0;
  for (int64_t block = m * blocks; block < (m + 1) * blocks; block++) sum += partial[block * C + c];
  dweight.data[m][c] += float(sum);
}

}  // namespace

void CudaOps::run(const RmsNormForward& op) {
  const auto& [x, weight, residual, y, N, C, epsilon, offset] = op;
  with_width(C, {y, x, residual}, [&](auto width) {
    for_members(std::ssize(weight), [&](int64_t first, int64_t count) {
      const Rows rows(count * N, C / width);
      GPU_LAUNCH(context_, rms_norm_forward_kernel<width>, rows.grid, rows.block, kShared, y + first * N * C,
                 x + first * N * C, WeightList::of(weight, first, count), residual ? residual + first * N * C : nullptr,
                 N, C, count * N, epsilon, offset);
    });
  });
}

void CudaOps::run(const RmsNormBackwardInput& op) {
  const auto& [dy, x, weight, dx, N, C, epsilon, offset, accumulate] = op;
  with_width(C, {dx, dy, x}, [&](auto width) {
    for_members(std::ssize(weight), [&](int64_t first, int64_t count) {
      const Rows rows(count * N, C / width);
      const int64_t skip = first * N * C;
      GPU_LAUNCH(context_, rms_norm_backward_input_kernel<width>, rows.grid, rows.block, kShared, dx + skip, dy + skip,
                 x + skip, WeightList::of(weight, first, count), N, C, count * N, epsilon, offset, accumulate);
    });
  });
}

void CudaOps::run(const RmsNormBackwardWeight& op) {
  const auto& [dy, x, dweight, N, C, epsilon] = op;
  const int64_t blocks = (N + kRowsSummed - 1) / kRowsSummed;
  const auto stripes = static_cast<unsigned>((C + kThreads - 1) / kThreads);
  if (blocks == 0) return;
  for_members(std::ssize(dweight), [&](int64_t first, int64_t count) {
    context_.scratch().reset();
    auto* r = context_.scratch().take<float>(count * N);
    auto* partial = context_.scratch().take<float>(count * blocks * C);
    const act *dy_m = dy + first * N * C, *x_m = x + first * N * C;
    with_width(C, {x_m}, [&](auto width) {
      const Rows rows(count * N, C / width);
      GPU_LAUNCH(context_, inverse_rms_kernel<width>, rows.grid, rows.block, kShared, r, x_m, C, count * N, epsilon);
    });
    GPU_LAUNCH(context_, weight_partials_kernel, dim3(stripes, blocks, count), kThreads, 0, partial, dy_m, x_m, r, N,
               C);
    GPU_LAUNCH(context_, weight_sums_kernel, dim3(stripes, count), kThreads, 0, GradientList::of(dweight, first, count),
               partial, blocks, C);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
