#include <numeric>

#include "members.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

// One block a row [H,D]: every thread turns the same pairs of all heads that it gets to, then copies what is not turned.
template <int width>
__global__ void rope_kernel(act* y, const act* x, WeightList table, const int32_t* starts, int B, int T, int H, int D,
                            int R, float direction) {
  const int row = blockIdx.x, half = R / 2, packs = half / width;
  const int m = row / (B * T), position = (starts ? starts[row / T % B] : 0) + row % T;
  const float* angles = static_cast<const float*>(table.data[m]) + int64_t(position) * R;
  for (int i = threadIdx.x; i < H * packs; i += blockDim.x) {
    const int pair = i % packs * width;
    const int64_t first = (int64_t(row) * H + i / packs) * D + pair;
    float a[width], b[width], cosine[width], sine[width];
    load(a, x + first);
    load(b, x + first + half);
    load(cosine, angles + pair);
    load(sine, angles + half + pair);
    for (int k = 0; k < width; k++) {
      const float low = a[k], high = b[k], s = direction * sine[k];
      a[k] = turned_low(low, high, cosine[k], s);
      b[k] = turned_high(low, high, cosine[k], s);
    }
    store(y + first, a);
    store(y + first + half, b);
  }
  const int rest = (D - R) / width;
  if (y == x) return;
  for (int i = threadIdx.x; i < H * rest; i += blockDim.x) {
    const int64_t at = (int64_t(row) * H + i / rest) * D + R + i % rest * width;
    float kept[width];
    load(kept, x + at);
    store(y + at, kept);
  }
}

}  // namespace

void CudaOps::run(const Rope& op) {
  const auto& [x, table, starts, y, B, T, H, D, R, inverse] = op;
  const int64_t stride = B * T * H * D;
  // Both halves of what is turned, and what is left of each head, begin on whole accesses.
  with_width(std::gcd(R / 2, D), {y, x}, [&](auto width) {
    const int64_t packs = H * (R / 2 / width);
    const int threads = packs >= kThreads ? kThreads : int(packs + 31) / 32 * 32;
    for_members(std::ssize(table), [&](int64_t first, int64_t count) {
      GPU_LAUNCH(context_, rope_kernel<width>, dim3(count * B * T), threads, 0, y + first * stride, x + first * stride,
                 WeightList::of(table, first, count), starts, B, T, H, D, R, inverse ? -1.0f : 1.0f);
    });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
