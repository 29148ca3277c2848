#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// cache[m,b,starts[b]+t,:,:] = x[m,b,t,:,:], one block a row [K D]; pages as in native/ops/pages.h
template <int width>
__global__ void cache_append_kernel(act* cache, const act* x, Pages pages, const int32_t* starts, int64_t B, int64_t T,
                                    int64_t S, int64_t C) {
  using Row = Pack<act, width>;
  const int64_t sequence = blockIdx.x / T;
  const int64_t slot = slot_of(pages, sequence, S, starts[sequence % B] + blockIdx.x % T);
  if (slot < 0) return;
  const auto* from = reinterpret_cast<const Row*>(x + blockIdx.x * C);
  auto* to = reinterpret_cast<Row*>(cache + slot * C);
  for (int64_t i = threadIdx.x; i < C / width; i += blockDim.x) to[i] = from[i];
}

}  // namespace

void CudaOps::run(const CacheAppend& op) {
  const auto [x, cache, pages, starts, M, B, T, S, K, D] = op;
  const int64_t C = K * D;
  with_width(C, {cache, x}, [&](auto width) {
    GPU_LAUNCH(context_, cache_append_kernel<width>, dim3(M * B * T), kThreads, 0, cache, x, pages, starts, B, T, S, C);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
