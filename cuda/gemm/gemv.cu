// y[m,n,o] = sum over i of x[m,n,i] W_m[o,i] (+ bias_m[o]) (+ residual[m,n,o]) for a handful of rows n.
// The weights are all there is to move: every lane keeps several 16-byte loads of them in flight, and x comes out of
// the L1 cache. One warp owns kOutputs outputs, so a sum has one owner and one order.
#include "gemv.h"

#include "../activation.cuh"
#include "../members.cuh"
#include "../vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kWarps = 8, kOutputs = 2, kVectorLength = 8, kUnroll = 2;

// This lane's share of the dot products of some rows of a weight with R rows of x.
template <int R, int outputs, class W>
__device__ __forceinline__ void dot_rows(float (&sums)[outputs][R], const act* x, const W* const (&rows)[outputs],
                                         int N, int I) {
  const int lane = threadIdx.x % 32;
  const bool aligned = I % kVectorLength == 0 && reinterpret_cast<uintptr_t>(rows[0]) % 16 == 0 &&
                       reinterpret_cast<uintptr_t>(x) % 16 == 0;
  if (!aligned) {
    for (int i = lane; i < I; i += 32)
#pragma unroll
      for (int o = 0; o < outputs; o++)
#pragma unroll
        for (int n = 0; n < R; n++)
          if (n < N) sums[o][n] = fmaf(to_float(x[n * int64_t{I} + i]), to_float(rows[o][i]), sums[o][n]);
    return;
  }
#pragma unroll kUnroll
  for (int i = lane * kVectorLength; i < I; i += 32 * kVectorLength) {
    float w[outputs][kVectorLength];
#pragma unroll
    for (int o = 0; o < outputs; o++) load(w[o], rows[o] + i);
#pragma unroll
    for (int n = 0; n < R; n++) {
      if (n >= N) break;
      float v[kVectorLength];
      load(v, x + n * int64_t{I} + i);
#pragma unroll
      for (int o = 0; o < outputs; o++)
#pragma unroll
        for (int e = 0; e < kVectorLength; e++) sums[o][n] = fmaf(v[e], w[o][e], sums[o][n]);
    }
  }
}

// Two blocks at least on a multiprocessor: left to guess, ptxas spills for the sake of a fourth.
// The x of one member and of the next are `apart` elements apart.
template <int R, class Out>
__global__ void __launch_bounds__(kWarps * 32, 2) gemv_kernel(Out* y, const act* x, int64_t apart, WeightList weight,
                                                              WeightList bias, const act* residual, int N, int I,
                                                              int O) {
  const int m = blockIdx.y, lane = threadIdx.x % 32;
  const int o0 = (blockIdx.x * kWarps + threadIdx.x / 32) * kOutputs;
  if (o0 >= O) return;
  float sums[kOutputs][R] = {};
  with_elements(weight, m, [&](auto* w) {
    // Past the last output the last row is read again, and not written.
    const std::remove_reference_t<decltype(*w)>* const rows[kOutputs] = {w + int64_t{o0} * I,
                                                                         w + int64_t{o0 + 1 < O ? o0 + 1 : o0} * I};
    dot_rows<R>(sums, x + m * apart, rows, N, I);
  });
#pragma unroll
  for (int o = 0; o < kOutputs; o++)
#pragma unroll
    for (int n = 0; n < R; n++) {
      for (int step = 16; step > 0; step /= 2) sums[o][n] += __shfl_xor_sync(0xffffffffu, sums[o][n], step);
      if (lane != o * R + n || n >= N || o0 + o >= O) continue;
      float value = sums[o][n];
      const int64_t at = (m * int64_t{N} + n) * O + o0 + o;
      if (bias.data[m]) with_elements(bias, m, [&](auto* b) { value += to_float(b[o0 + o]); });
      if (residual) value += to_float(residual[at]);
      y[at] = from_float<Out>(value);
    }
}

struct Gated {
  act* y;
  const act* x;
  WeightList weights[2], biases[2];  // of the gate, and of what it gates
  int N, C, F;
  Activation activation;
};

// One warp owns one output: a row of either weight.
template <int R>
__global__ void __launch_bounds__(kWarps * 32, 2) swiglu_gemv_kernel(const __grid_constant__ Gated s) {
  const int m = blockIdx.y, lane = threadIdx.x % 32, f = blockIdx.x * kWarps + threadIdx.x / 32;
  if (f >= s.F) return;
  float sums[2][R] = {};
#pragma unroll
  for (int b = 0; b < 2; b++) {
    float dots[1][R] = {};
    with_elements(s.weights[b], m, [&](auto* w) {
      const std::remove_reference_t<decltype(*w)>* const rows[1] = {w + int64_t{f} * s.C};
      dot_rows<R>(dots, s.x + m * int64_t{s.N} * s.C, rows, s.N, s.C);
    });
#pragma unroll
    for (int n = 0; n < R; n++) {
      for (int step = 16; step > 0; step /= 2) dots[0][n] += __shfl_xor_sync(0xffffffffu, dots[0][n], step);
      sums[b][n] = dots[0][n];
      if (s.biases[b].data[m]) with_elements(s.biases[b], m, [&](auto* bias) { sums[b][n] += to_float(bias[f]); });
    }
  }
#pragma unroll
  for (int n = 0; n < R; n++)
    if (lane == n && n < s.N)
      s.y[(m * int64_t{s.N} + n) * s.F + f] = from_float<act>(activated(s.activation, sums[0][n]) * sums[1][n]);
}

template <int R>
void launch_gated_rows(Context& context, Gated s, Weights gate, Weights up, Weights gate_bias, Weights up_bias) {
  act* const y = s.y;
  const act* const x = s.x;
  for_members(gate.size(), [&](int64_t first, int64_t count) {
    s.y = y + first * s.N * s.F;
    s.x = x + first * s.N * s.C;
    s.weights[0] = WeightList::of(gate, first, count);
    s.weights[1] = WeightList::of(up, first, count);
    s.biases[0] = WeightList::of(gate_bias, first, count);
    s.biases[1] = WeightList::of(up_bias, first, count);
    GPU_LAUNCH(context, swiglu_gemv_kernel<R>, dim3((s.F + kWarps - 1) / kWarps, count), dim3(kWarps * 32), 0, s);
  });
}

template <int R, class Out>
void launch_rows(Context& context, Out* y, const act* x, int64_t apart, Weights weight, Weights bias,
                 const act* residual, int64_t N, int64_t I, int64_t O) {
  for_members(weight.size(), [&](int64_t first, int64_t count) {
    const int64_t blocks = (O + kWarps * kOutputs - 1) / (kWarps * kOutputs);
    GPU_LAUNCH(context, (gemv_kernel<R, Out>), dim3(blocks, count), dim3(kWarps * 32), 0, y + first * N * O,
               x + first * apart, apart, WeightList::of(weight, first, count), WeightList::of(bias, first, count),
               residual ? residual + first * N * O : nullptr, N, I, O);
  });
}

template <class Out>
void launch_any(Context& context, Out* y, const act* x, int64_t apart, Weights weight, Weights bias,
                const act* residual, int64_t N, int64_t I, int64_t O) {
  if (N == 1) launch_rows<1>(context, y, x, apart, weight, bias, residual, N, I, O);
  else if (N == 2) launch_rows<2>(context, y, x, apart, weight, bias, residual, N, I, O);
  else if (N <= 4) launch_rows<4>(context, y, x, apart, weight, bias, residual, N, I, O);
  else launch_rows<8>(context, y, x, apart, weight, bias, residual, N, I, O);
}

}  // namespace

void launch_gemv(Context& context, act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N,
                 int64_t I, int64_t O) {
  launch_any(context, y, x, N * I, weight, bias, residual, N, I, O);
}

template <class Out>
void launch_shared_gemv(Context& context, Out* y, const act* x, Weights weight, int64_t N, int64_t I, int64_t O) {
  launch_any(context, y, x, 0, weight, {}, nullptr, N, I, O);
}
template void launch_shared_gemv(Context&, act*, const act*, Weights, int64_t, int64_t, int64_t);
#if defined(BTS_BF16)
template void launch_shared_gemv(Context&, float*, const act*, Weights, int64_t, int64_t, int64_t);
#endif

void launch_swiglu_gemv(Context& context, act* y, const act* x, Weights gate, Weights up, Weights gate_bias,
                        Weights up_bias, int64_t N, int64_t C, int64_t F, Activation activation) {
  const Gated s{y, x, {}, {}, static_cast<int>(N), static_cast<int>(C), static_cast<int>(F), activation};
  if (N == 1) launch_gated_rows<1>(context, s, gate, up, gate_bias, up_bias);
  else if (N == 2) launch_gated_rows<2>(context, s, gate, up, gate_bias, up_bias);
  else if (N <= 4) launch_gated_rows<4>(context, s, gate, up, gate_bias, up_bias);
  else launch_gated_rows<8>(context, s, gate, up, gate_bias, up_bias);
}

}  // namespace bts::cuda::BTS_PRECISION
