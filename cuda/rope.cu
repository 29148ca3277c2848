#include <numeric>

#include "members.cuh"
#include "vectors.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kHeads = 2;  // whose pairs a thread reads before it turns the first

// One block a row [H,D]. A thread turns the same pairs of several heads, whose angles it reads once, then copies what is not
// turned.
template <int width>
__global__ void __launch_bounds__(kThreads) rope_kernel(act* y, const act* x, const __grid_constant__ WeightList table,
                                                        const int32_t* starts, int T, int H, int D, int R,
                                                        float direction) {
  const int n = blockIdx.x, half = R / 2;
  const int64_t row = (int64_t(blockIdx.y) * gridDim.x + n) * H * D;
  const int position = (starts ? starts[n / T] : 0) + n % T;
  const float* angles = static_cast<const float*>(table.data[blockIdx.y]) + int64_t(position) * R;
  for (int pair = threadIdx.x * width; pair < half; pair += blockDim.x * width) {
    float cosine[width], sine[width];
    load(cosine, angles + pair);
    load(sine, angles + half + pair);
    for (int first = threadIdx.y; first < H; first += kHeads * blockDim.y) {
      Pack<act, width> low[kHeads], high[kHeads];
      const auto for_heads = [&](auto&& f) {
#pragma unroll
        for (int i = 0; i < kHeads; i++) {
          const int head = first + i * blockDim.y;
          if (head < H) f(i, row + head * D + pair);
        }
      };
      for_heads([&](int i, int64_t at) {
        low[i] = pack_at<width>(x + at);
        high[i] = pack_at<width>(x + at + half);
      });
      for_heads([&](int i, int64_t at) {
        float a[width], b[width];
        for (int k = 0; k < width; k++) {
          const float before = to_float(low[i].at[k]), after = to_float(high[i].at[k]), s = direction * sine[k];
          a[k] = turned_low(before, after, cosine[k], s);
          b[k] = turned_high(before, after, cosine[k], s);
        }
        store(y + at, a);
        store(y + at + half, b);
      });
    }
  }
  if (y == x) return;
  for (int head = threadIdx.y; head < H; head += blockDim.y)
    for (int d = R + threadIdx.x * width; d < D; d += blockDim.x * width) {
      float kept[width];
      load(kept, x + row + head * D + d);
      store(y + row + head * D + d, kept);
    }
}

}  // namespace

void CudaOps::run(const Rope& op) {
  const auto& [x, table, starts, y, B, T, H, D, R, inverse] = op;
  const int64_t stride = B * T * H * D;
  // Both halves of what is turned, and what is left of each head, begin on whole accesses.
  with_width(std::gcd(R / 2, D), {y, x}, table, [&](auto width) {
    const auto packs = static_cast<unsigned>(std::clamp<int64_t>(R / 2 / width, 1, kThreads));
    const auto heads = static_cast<unsigned>(std::clamp<int64_t>((H + kHeads - 1) / kHeads, 1, kThreads / packs));
    for_members(std::ssize(table), [&](int64_t first, int64_t count) {
      GPU_LAUNCH(context_, rope_kernel<width>, dim3(B * T, count), dim3(packs, heads), 0, y + first * stride,
                 x + first * stride, WeightList::of(table, first, count), starts, T, H, D, R, inverse ? -1.0f : 1.0f);
    });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
