// A row is read once, by as many warps as hold it in registers; what is longer than that is read again.
#include "members.cuh"
#include "reduce.cuh"
#include "span.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kPacks = sizeof(act) == 2 ? 4 : 2;  // of a row in the registers of a thread
constexpr unsigned kMostThreads = 256;            // of a row
constexpr int kBlocks = 3;                        // of so many threads that a multiprocessor should have
constexpr int64_t kRowsSummed = 64;               // rows whose weight gradients one thread sums
constexpr unsigned kColumns = 128;                // packs of columns whose weight gradients a block sums
constexpr size_t kShared = kMostThreads / 32 * sizeof(float);

// The shape of a block, and how many it takes for N rows of each member: short rows are a warp's work, and several a block's.
struct Rows {
  dim3 grid, block;
  Rows(int64_t members, int64_t N, int64_t packs) : block(threads_of_row(packs, kPacks, kMostThreads)) {
    if (block.x == 32) block.y = kThreads / 32;
    grid = dim3((N + block.y - 1) / block.y, members);
  }
};

// Of the thread's member.
__device__ int64_t row_of_thread() { return int64_t(blockIdx.x) * blockDim.y + threadIdx.y; }

// 1 / sqrt(mean(x^2) + epsilon), the same in all threads of the row.
template <int width, class First, class Rest>
__device__ __forceinline__ float inverse_rms(const First& first, const Rest& rest, int C, float epsilon,
                                             float* shared) {
  float squares = 0;
  for_spans(first, rest, C, [&](const auto& xs) {
    xs.for_packs([&](int i, int) {
      float x[width];
      xs.get(x, i);
      for (int k = 0; k < width; k++) squares += x[k] * x[k];
    });
  });
  return 1 / sqrtf(block_sum(squares, shared) / C + epsilon);
}

template <int width>
__global__ void __launch_bounds__(kMostThreads, kBlocks) rms_norm_forward_kernel(
    act* y, const act* x, const __grid_constant__ WeightList weight, const act* residual, int64_t N, int C,
    float epsilon, float offset) {
  DYNAMIC_SHARED(shared);
  const int64_t n = row_of_thread(), at = (blockIdx.y * N + n) * C;
  if (n >= N) return;
  const Span<act, width, kPacks> first(x + at, 0, C);
  const auto rest = [=](int begin) { return Span<act, width, 1>(x + at, begin, C); };
  const float r = inverse_rms<width>(first, rest, C, epsilon, reinterpret_cast<float*>(shared));
  with_elements(weight, blockIdx.y, [&](auto* w) {
    for_spans(first, rest, C, [&](const auto& xs) {
      xs.for_packs([&](int i, int c) {
        float in[width], scale[width], plus[width] = {};
        xs.get(in, i);
        load(scale, w + c);
        if (residual) load(plus, residual + at + c);
        for (int k = 0; k < width; k++) in[k] = in[k] * r * (offset + scale[k]) + plus[k];
        store(y + at + c, in);
      });
    });
  });
}

template <int width, int packs>
struct Both {
  Span<act, width, packs> dy, x;
  __device__ Both(const act* dy, const act* x, int begin, int C) : dy(dy, begin, C), x(x, begin, C) {}
  __device__ static int size() { return Span<act, width, packs>::size(); }
};

// y = x r w, where r depends on every x: dr/dx = -x r^3 / C
template <int width>
__global__ void __launch_bounds__(kMostThreads, kBlocks) rms_norm_backward_input_kernel(
    act* dx, const act* dy, const act* x, const __grid_constant__ WeightList weight, int64_t N, int C, float epsilon,
    float offset, bool accumulate) {
  DYNAMIC_SHARED(shared);
  const int64_t n = row_of_thread(), at = (blockIdx.y * N + n) * C;
  if (n >= N) return;
  const Both<width, kPacks> first(dy + at, x + at, 0, C);
  const auto rest = [=](int begin) { return Both<width, 1>(dy + at, x + at, begin, C); };
  with_elements(weight, blockIdx.y, [&](auto* w) {
    float squares = 0, dot = 0;
    for_spans(first, rest, C, [&](const auto& both) {
      both.x.for_packs([&](int i, int c) {
        float in[width], d[width], scale[width];
        both.x.get(in, i);
        both.dy.get(d, i);
        load(scale, w + c);
        for (int k = 0; k < width; k++) {
          squares += in[k] * in[k];
          dot += d[k] * (offset + scale[k]) * in[k];
        }
      });
    });
    auto* sums = reinterpret_cast<float*>(shared);
    const float r = 1 / sqrtf(block_sum(squares, sums) / C + epsilon), along_x = block_sum(dot, sums) / C * r * r;
    for_spans(first, rest, C, [&](const auto& both) {
      both.x.for_packs([&](int i, int c) {
        float in[width], d[width], scale[width], before[width] = {};
        both.x.get(in, i);
        both.dy.get(d, i);
        load(scale, w + c);
        if (accumulate) load(before, dx + at + c);
        for (int k = 0; k < width; k++) d[k] = r * (d[k] * (offset + scale[k]) - in[k] * along_x) + before[k];
        store(dx + at + c, d);
      });
    });
  });
}

template <int width>
__global__ void __launch_bounds__(kMostThreads) inverse_rms_kernel(float* r, const act* x, int64_t N, int C,
                                                                   float epsilon) {
  DYNAMIC_SHARED(shared);
  const int64_t n = row_of_thread(), row = blockIdx.y * N + n;
  if (n >= N) return;
  const Span<act, width, kPacks> first(x + row * C, 0, C);
  const auto rest = [=](int begin) { return Span<act, width, 1>(x + row * C, begin, C); };
  const float result = inverse_rms<width>(first, rest, C, epsilon, reinterpret_cast<float*>(shared));
  if (threadIdx.x == 0) r[row] = result;
}

// partial[m, block, c] = sum over the block's rows of dy x r
template <int width>
__global__ void weight_partials_kernel(float* partial, const act* dy, const act* x, const float* r, int64_t N,
                                       int64_t C) {
  const int64_t c = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) * width, block = blockIdx.y, m = blockIdx.z;
  if (c >= C) return;
  const int64_t begin = block * kRowsSummed, end = begin + kRowsSummed < N ? begin + kRowsSummed : N;
  double sums[width] = {};  // memory is slower still, and many rows may cancel
#pragma unroll 4
  for (int64_t row = m * N + begin; row < m * N + end; row++) {
    float d[width], in[width];
    load(d, dy + row * C + c);
    load(in, x + row * C + c);
    for (int k = 0; k < width; k++) sums[k] += d[k] * in[k] * r[row];
  }
  for (int k = 0; k < width; k++) partial[(m * gridDim.y + block) * C + c + k] = float(sums[k]);
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
  with_width(C, {y, x, residual}, weight, [&](auto width) {
    for_members(std::ssize(weight), [&](int64_t first, int64_t count) {
      const Rows rows(count, N, C / width);
      GPU_LAUNCH(context_, rms_norm_forward_kernel<width>, rows.grid, rows.block, kShared, y + first * N * C,
                 x + first * N * C, WeightList::of(weight, first, count), residual ? residual + first * N * C : nullptr,
                 N, C, epsilon, offset);
    });
  });
}

void CudaOps::run(const RmsNormBackwardInput& op) {
  const auto& [dy, x, weight, dx, N, C, epsilon, offset, accumulate] = op;
  with_width(C, {dx, dy, x}, weight, [&](auto width) {
    for_members(std::ssize(weight), [&](int64_t first, int64_t count) {
      const Rows rows(count, N, C / width);
      const int64_t skip = first * N * C;
      GPU_LAUNCH(context_, rms_norm_backward_input_kernel<width>, rows.grid, rows.block, kShared, dx + skip, dy + skip,
                 x + skip, WeightList::of(weight, first, count), N, C, epsilon, offset, accumulate);
    });
  });
}

void CudaOps::run(const RmsNormBackwardWeight& op) {
  const auto& [dy, x, dweight, N, C, epsilon] = op;
  const int64_t blocks = (N + kRowsSummed - 1) / kRowsSummed;
  if (blocks == 0) return;
  for_members(std::ssize(dweight), [&](int64_t first, int64_t count) {
    context_.scratch().reset();
    auto* r = context_.scratch().take<float>(count * N);
    auto* partial = context_.scratch().take<float>(count * blocks * C);
    const act *dy_m = dy + first * N * C, *x_m = x + first * N * C;
    with_width(C, {dy_m, x_m}, [&](auto width) {
      const int64_t packs = C / width;
      const Rows rows(count, N, packs);
      GPU_LAUNCH(context_, inverse_rms_kernel<width>, rows.grid, rows.block, kShared, r, x_m, N, C, epsilon);
      const unsigned threads = threads_of_row(packs, 1, kColumns);
      GPU_LAUNCH(context_, weight_partials_kernel<width>, dim3((packs + threads - 1) / threads, blocks, count), threads,
                 0, partial, dy_m, x_m, r, N, C);
    });
    GPU_LAUNCH(context_, weight_sums_kernel, dim3((C + kThreads - 1) / kThreads, count), kThreads, 0,
               GradientList::of(dweight, first, count), partial, blocks, C);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
