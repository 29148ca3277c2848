#include "elementwise.cuh"
#include "reduce.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kRows = kThreads / 32;  // of a block

struct Product {
  __device__ void operator()(float (&x)[2]) const { x[0] *= x[1]; }
};

// One factor a row: one warp a row.
template <int width>
__global__ void scale_rows_kernel(act* y, const act* a, const act* b, int64_t R, int64_t C) {
  const int64_t r = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (r >= R) return;
  const float factor = to_float(b[r]);
  for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
    float x[width];
    load(x, a + r * C + c);
    for (int k = 0; k < width; k++) x[k] *= factor;
    store(y + r * C + c, x);
  }
}

template <int width>
__global__ void scale_rows_backward_kernel(act* da, act* db, const act* dy, const act* a, const act* b, int64_t R,
                                           int64_t C) {
  const int64_t r = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (r >= R) return;
  const float factor = to_float(b[r]);
  float dot = 0;
  for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
    float d[width], x[width];
    load(d, dy + r * C + c);
    load(x, a + r * C + c);
    for (int k = 0; k < width; k++) {
      dot += d[k] * x[k];
      d[k] *= factor;
    }
    if (da) store(da + r * C + c, d);
  }
  dot = warp_sum(dot);
  if (db && threadIdx.x == 0) db[r] = from_float<act>(dot);
}

dim3 grid_of_rows(int64_t R) { return dim3(static_cast<unsigned>((R + kRows - 1) / kRows)); }

}  // namespace

void CudaOps::run(const MulForward& op) {
  const auto [a, b, y, R, C, G] = op;
  if (G == C) return map(context_, {y}, {a, b}, R * C, Product());
  with_width(C, {y, a}, [&](auto width) {
    GPU_LAUNCH(context_, scale_rows_kernel<width>, grid_of_rows(R), dim3(32, kRows), 0, y, a, b, R, C);
  });
}

void CudaOps::run(const MulBackward& op) {
  const auto [dy, a, b, da, db, R, C, G] = op;
  if (G == C) {
    if (da) map(context_, {da}, {dy, b}, R * C, Product());
    if (db) map(context_, {db}, {dy, a}, R * C, Product());
    return;
  }
  with_width(C, {da, dy, a}, [&](auto width) {
    GPU_LAUNCH(context_, scale_rows_backward_kernel<width>, grid_of_rows(R), dim3(32, kRows), 0, da, db, dy, a, b, R,
               C);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
