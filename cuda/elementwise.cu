#include "random.cuh"
#include "reduce.cuh"
#include "vectors.cuh"

#include "../native/error.h"
#include "ops_cuda.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

__global__ void fill_kernel(float* y, float value, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) y[i] = value;
}

__global__ void fill_scaled_kernel(float* y, const float* value, float scale, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) y[i] = scale * value[0];
}

// Box and Muller (1958) make two deviates of two words; in f64, so that the tails are those of 32 bits.
__global__ void fill_normal_kernel(float* y, float deviation, uint64_t seed, int64_t n) {
  for (int64_t block = grid_thread(); block * 4 < n; block += grid_threads()) {
    const RandomWords random = random_words(seed, block);
    for (int k = 0; k < 4; k += 2) {
      const int64_t i = block * 4 + k;
      const double radius = deviation * sqrt(-2 * log((random.words[k] + 1.0) * 0x1p-32));
      const double angle = 2 * 3.141592653589793 * 0x1p-32 * random.words[k + 1];
      if (i < n) y[i] = float(radius * cos(angle));
      if (i + 1 < n) y[i + 1] = float(radius * sin(angle));
    }
  }
}

template <int width>
__global__ void add_kernel(act* y, const act* a, const act* b, int64_t packs) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float left[width], right[width];
    load(left, a + i * width);
    load(right, b + i * width);
    for (int k = 0; k < width; k++) left[k] += right[k];
    store(y + i * width, left);
  }
}

__global__ void dropout_kernel(act* y, const act* x, Dropping dropping, int64_t n) {
  for (int64_t block = grid_thread(); block * 4 < n; block += grid_threads()) {
    const RandomWords random = random_words(dropping.seed, block);
    for (int k = 0; k < 4; k++) {
      const int64_t i = block * 4 + k;
      if (i < n) y[i] = from_float<act>(dropping.apply_word(to_float(x[i]), random.words[k]));
    }
  }
}

struct f16 {
  uint16_t bits;
};
__device__ float widen(float x) { return x; }
__device__ float widen(bf16 x) { return to_float(x); }
__device__ float widen(f16 x) { return f16_to_float(x.bits); }
__device__ void narrow(float& y, float x) { y = x; }
__device__ void narrow(bf16& y, float x) { y = to_bf16(x); }
__device__ void narrow(f16& y, float x) { y.bits = float_to_f16(x); }

template <class To, class From>
__global__ void convert_kernel(To* y, const From* x, int64_t n) {
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) narrow(y[i], widen(x[i]));
}

// Calls f with a null pointer to the type.
template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::F32: return f(static_cast<float*>(nullptr));
    case DType::BF16: return f(static_cast<bf16*>(nullptr));
    case DType::F16: return f(static_cast<f16*>(nullptr));
    default: throw Error("BAD_SHAPE", "integers cannot be converted");
  }
}

// y[r,:] = x[rows[r],:]
template <int width>
__global__ void gather_rows_kernel(act* y, const act* x, const int32_t* rows, int64_t C) {
  using Row = Pack<act, width>;
  const auto* from = reinterpret_cast<const Row*>(x + rows[blockIdx.x] * C);
  auto* to = reinterpret_cast<Row*>(y + blockIdx.x * C);
  for (int64_t i = threadIdx.x; i < C / width; i += blockDim.x) to[i] = from[i];
}

// cache[m,b,starts[b]+t,:,:] = x[m,b,t,:,:], one block a row [K D]
template <int width>
__global__ void cache_append_kernel(act* cache, const act* x, const int32_t* starts, int64_t B, int64_t T, int64_t S,
                                    int64_t C) {
  using Row = Pack<act, width>;
  const int64_t sequence = blockIdx.x / T, slot = sequence * S + (starts ? starts[sequence % B] : 0) + blockIdx.x % T;
  const auto* from = reinterpret_cast<const Row*>(x + blockIdx.x * C);
  auto* to = reinterpret_cast<Row*>(cache + slot * C);
  for (int64_t i = threadIdx.x; i < C / width; i += blockDim.x) to[i] = from[i];
}

constexpr int64_t kSumChunk = 16 * kThreads;  // elements that one block adds

// partial[block] = sum of its chunk, in f64
__global__ void sum_chunks_kernel(double* partial, const float* x, int64_t n) {
  DYNAMIC_SHARED(shared);
  const int64_t begin = int64_t(blockIdx.x) * kSumChunk, end = begin + kSumChunk < n ? begin + kSumChunk : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += x[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

__global__ void sum_partials_kernel(float* y, const double* partial, int64_t chunks, float scale) {
  DYNAMIC_SHARED(shared);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < chunks; i += blockDim.x) sum += partial[i];
  sum = block_sum(sum, reinterpret_cast<double*>(shared));
  if (threadIdx.x == 0) y[0] = float(scale * sum);
}

template <int width>
__global__ void softcap_kernel(act* y, const act* x, float cap, int64_t packs) {
  for (int64_t i = grid_thread(); i < packs; i += grid_threads()) {
    float v[width];
    load(v, x + i * width);
    for (int k = 0; k < width; k++) v[k] = cap * tanhf(v[k] / cap);
    store(y + i * width, v);
  }
}

constexpr size_t kSumShared = kThreads / 32 * sizeof(double);

}  // namespace

void CudaOps::fill(float* y, float value, int64_t n) {
  GPU_LAUNCH(context_, fill_kernel, grid_for(context_, n), kThreads, 0, y, value, n);
}

void CudaOps::fill_normal(float* y, float deviation, uint64_t seed, int64_t n) {
  GPU_LAUNCH(context_, fill_normal_kernel, grid_for(context_, (n + 3) / 4), kThreads, 0, y, deviation, seed, n);
}

void CudaOps::add(act* y, const act* a, const act* b, int64_t n) {
  with_width(n, {y, a, b}, [&](auto width) {
    GPU_LAUNCH(context_, add_kernel<width>, grid_for(context_, n / width), kThreads, 0, y, a, b, n / width);
  });
}

void CudaOps::softcap(act* y, const act* x, float cap, int64_t n) {
  with_width(n, {y, x}, [&](auto width) {
    GPU_LAUNCH(context_, softcap_kernel<width>, grid_for(context_, n / width), kThreads, 0, y, x, cap, n / width);
  });
}

void CudaOps::dropout(act* y, const act* x, const Dropout& dropout, int64_t n) {
  GPU_LAUNCH(context_, dropout_kernel, grid_for(context_, (n + 3) / 4), kThreads, 0, y, x, Dropping(dropout), n);
}

void CudaOps::convert(void* y, DType to, const void* x, DType from, int64_t n) {
  if (to == from) {
    CUDA_EXPECT(cudaMemcpyAsync(y, x, static_cast<size_t>(n) * size_of(to), cudaMemcpyDeviceToDevice, context_.stream()));
    return;
  }
  with_type(to, [&](auto* to_type) {
    with_type(from, [&](auto* from_type) {
      using To = std::remove_pointer_t<decltype(to_type)>;
      using From = std::remove_pointer_t<decltype(from_type)>;
      GPU_LAUNCH(context_, (convert_kernel<To, From>), grid_for(context_, n), kThreads, 0, static_cast<To*>(y),
                 static_cast<const From*>(x), n);
    });
  });
}

void CudaOps::gather_rows(act* y, const act* x, const int32_t* rows, int64_t R, int64_t, int64_t C) {
  with_width(C, {y, x}, [&](auto width) {
    GPU_LAUNCH(context_, gather_rows_kernel<width>, dim3(R), kThreads, 0, y, x, rows, C);
  });
}

void CudaOps::cache_append(act* cache, const act* x, const int32_t* starts, const Attention& size) {
  const int64_t C = size.K * size.D;
  with_width(C, {cache, x}, [&](auto width) {
    GPU_LAUNCH(context_, cache_append_kernel<width>, dim3(size.M * size.B * size.T), kThreads, 0, cache, x, starts,
               size.B, size.T, size.S, C);
  });
}

void CudaOps::sum_forward(float* y, const float* x, float scale, int64_t n) {
  const int64_t chunks = (n + kSumChunk - 1) / kSumChunk;
  context_.scratch().reset();
  auto* partial = context_.scratch().take<double>(chunks);
  GPU_LAUNCH(context_, sum_chunks_kernel, dim3(chunks), kThreads, kSumShared, partial, x, n);
  GPU_LAUNCH(context_, sum_partials_kernel, dim3(1), kThreads, kSumShared, y, partial, chunks, scale);
}

// forward: y = scale * sum of x
void CudaOps::sum_backward(float* dx, const float* dy, float scale, int64_t n) {
  GPU_LAUNCH(context_, fill_scaled_kernel, grid_for(context_, n), kThreads, 0, dx, dy, scale, n);
}

}  // namespace bts::cuda::BTS_PRECISION
