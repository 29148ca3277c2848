// One warp a row.
#include "cuda_ops.h"
#include "reduce.cuh"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kRows = kThreads / 32;  // of a block

// The gates of `width` elements from c on, of row r.
template <int width>
__device__ __forceinline__ void load_gates(float (&gate)[width], const act* g, int64_t r, int64_t c, int64_t C,
                                           bool by_row) {
  if (!by_row) return load(gate, g + r * C + c);
  for (int k = 0; k < width; k++) gate[k] = to_float(g[r]);
}

template <int width>
__global__ void lerp_forward_kernel(act* y, const act* a, const act* b, const act* g, int64_t R, int64_t C,
                                    bool by_row) {
  const int64_t r = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (r >= R) return;
  for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
    float from[width], to[width], gate[width];
    load(from, a + r * C + c);
    load(to, b + r * C + c);
    load_gates(gate, g, r, c, C, by_row);
    for (int k = 0; k < width; k++) from[k] += gate[k] * (to[k] - from[k]);
    store(y + r * C + c, from);
  }
}

template <int width>
__global__ void lerp_backward_kernel(act* da, act* db, act* dg, const act* dy, const act* a, const act* b, const act* g,
                                     int64_t R, int64_t C, bool by_row) {
  const int64_t r = int64_t(blockIdx.x) * kRows + threadIdx.y;
  if (r >= R) return;
  float dot = 0;
  for (int64_t c = threadIdx.x * width; c < C; c += 32 * width) {
    float d[width], from[width], to[width], gate[width];
    load(d, dy + r * C + c);
    load(from, a + r * C + c);
    load(to, b + r * C + c);
    load_gates(gate, g, r, c, C, by_row);
    for (int k = 0; k < width; k++) {
      const float dgate = d[k] * (to[k] - from[k]);
      dot += dgate;
      to[k] = gate[k] * d[k];
      from[k] = d[k] - to[k];
      gate[k] = dgate;
    }
    store(da + r * C + c, from);
    store(db + r * C + c, to);
    if (!by_row) store(dg + r * C + c, gate);
  }
  if (!by_row) return;
  dot = warp_sum(dot);
  if (threadIdx.x == 0) dg[r] = from_float<act>(dot);
}

dim3 grid_of_rows(int64_t R) { return dim3(static_cast<unsigned>((R + kRows - 1) / kRows)); }

}  // namespace

void CudaOps::run(const LerpForward& op) {
  const auto [a, b, g, y, R, C, G] = op;
  const bool by_row = G != C;
  with_width(C, {y, a, b, by_row ? nullptr : g}, [&](auto width) {
    GPU_LAUNCH(context_, lerp_forward_kernel<width>, grid_of_rows(R), dim3(32, kRows), 0, y, a, b, g, R, C, by_row);
  });
}

void CudaOps::run(const LerpBackward& op) {
  const auto [dy, a, b, g, da, db, dg, R, C, G] = op;
  const bool by_row = G != C;
  with_width(C, {da, db, by_row ? nullptr : dg, dy, a, b, by_row ? nullptr : g}, [&](auto width) {
    GPU_LAUNCH(context_, lerp_backward_kernel<width>, grid_of_rows(R), dim3(32, kRows), 0, da, db, dg, dy, a, b, g, R,
               C, by_row);
  });
}

}  // namespace bts::cuda::BTS_PRECISION
