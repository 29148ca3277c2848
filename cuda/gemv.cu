// y[m,n,o] = sum over i of x[m,n,i] W_m[o,i] (+ bias_m[o]) (+ residual[m,n,o]) for a handful of rows n.
// The weights are all there is to move: every lane keeps several 16-byte loads of them in flight, and x comes out of
// the L1 cache. One warp owns kOutputs outputs, so a sum has one owner and one order.
#include "gemv.h"

#include "members.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kWarps = 8, kOutputs = 2, kVectorLength = 8, kUnroll = 2;

__device__ __forceinline__ void load8(float (&to)[8], const float* from) {
  const float4 low = reinterpret_cast<const float4*>(from)[0], high = reinterpret_cast<const float4*>(from)[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}
__device__ __forceinline__ void load8(float (&to)[8], const bf16* from) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++) to[2 * i] = low_half(words[i]), to[2 * i + 1] = high_half(words[i]);
}
__device__ __forceinline__ void load8(float (&to)[8], const uint16_t* from) {  // f16
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; i++)
    to[2 * i] = f16_to_float(words[i] & 0xffff), to[2 * i + 1] = f16_to_float(words[i] >> 16);
}
__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(bf16 x) { return to_float(x); }
__device__ __forceinline__ float widen(uint16_t x) { return f16_to_float(x); }

// This lane's share of the dot products of kOutputs rows of `weight` with R rows of x.
template <int R, class W>
__device__ __forceinline__ void dot_rows(float (&sums)[kOutputs][R], const act* x, const W* const (&rows)[kOutputs], int N,
                                         int I) {
  const int lane = threadIdx.x % 32;
  const bool aligned = I % kVectorLength == 0 && reinterpret_cast<uintptr_t>(rows[0]) % 16 == 0 &&
                       reinterpret_cast<uintptr_t>(x) % 16 == 0;
  if (!aligned) {
    for (int i = lane; i < I; i += 32)
#pragma unroll
      for (int o = 0; o < kOutputs; o++)
#pragma unroll
        for (int n = 0; n < R; n++)
          if (n < N) sums[o][n] = fmaf(to_float(x[n * int64_t{I} + i]), widen(rows[o][i]), sums[o][n]);
    return;
  }
#pragma unroll kUnroll
  for (int i = lane * kVectorLength; i < I; i += 32 * kVectorLength) {
    float w[kOutputs][kVectorLength];
#pragma unroll
    for (int o = 0; o < kOutputs; o++) load8(w[o], rows[o] + i);
#pragma unroll
    for (int n = 0; n < R; n++) {
      if (n >= N) break;
      float v[kVectorLength];
      load8(v, x + n * int64_t{I} + i);
#pragma unroll
      for (int o = 0; o < kOutputs; o++)
#pragma unroll
        for (int e = 0; e < kVectorLength; e++) sums[o][n] = fmaf(v[e], w[o][e], sums[o][n]);
    }
  }
}

template <int R>
__global__ void __launch_bounds__(kWarps * 32) gemv_kernel(act* y, const act* x, WeightList weight, WeightList bias,
                                                           const act* residual, int N, int I, int O) {
  const int m = blockIdx.y, lane = threadIdx.x % 32;
  const int o0 = (blockIdx.x * kWarps + threadIdx.x / 32) * kOutputs;
  if (o0 >= O) return;
  float sums[kOutputs][R] = {};
  const auto dot = [&](auto* w) {
    // Past the last output the last row is read again, and not written.
    const std::remove_reference_t<decltype(*w)>* const rows[kOutputs] = {
        w + int64_t{o0} * I, w + int64_t{o0 + 1 < O ? o0 + 1 : o0} * I};
    dot_rows<R>(sums, x + m * int64_t{N} * I, rows, N, I);
  };
  switch (weight.dtype[m]) {
    case DType::BF16: dot(static_cast<const bf16*>(weight.data[m])); break;
    case DType::F16: dot(static_cast<const uint16_t*>(weight.data[m])); break;
    default: dot(static_cast<const float*>(weight.data[m]));
  }
#pragma unroll
  for (int o = 0; o < kOutputs; o++)
#pragma unroll
    for (int n = 0; n < R; n++) {
      for (int step = 16; step > 0; step /= 2) sums[o][n] += __shfl_xor_sync(0xffffffffu, sums[o][n], step);
      if (lane != o * R + n || n >= N || o0 + o >= O) continue;
      float value = sums[o][n];
      const int64_t at = (m * int64_t{N} + n) * O + o0 + o;
      if (bias.data[m]) with_reader(bias, m, [&](auto reader) { value += reader[o0 + o]; });
      if (residual) value += to_float(residual[at]);
      y[at] = from_float<act>(value);
    }
}

template <int R>
void launch_rows(Context& context, act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N,
                 int64_t I, int64_t O) {
  for_members(weight.size(), [&](int64_t first, int64_t count) {
    const int64_t blocks = (O + kWarps * kOutputs - 1) / (kWarps * kOutputs);
    GPU_LAUNCH(context, gemv_kernel<R>, dim3(blocks, count), dim3(kWarps * 32), 0, y + first * N * O,
               x + first * N * I, WeightList::of(weight, first, count), WeightList::of(bias, first, count),
               residual ? residual + first * N * O : nullptr, N, I, O);
  });
}

}  // namespace

void launch_gemv(Context& context, act* y, const act* x, Weights weight, Weights bias, const act* residual, int64_t N,
                 int64_t I, int64_t O) {
  if (N == 1)
    launch_rows<1>(context, y, x, weight, bias, residual, N, I, O);
  else if (N == 2)
    launch_rows<2>(context, y, x, weight, bias, residual, N, I, O);
  else if (N <= 4)
    launch_rows<4>(context, y, x, weight, bias, residual, N, I, O);
  else
    launch_rows<8>(context, y, x, weight, bias, residual, N, I, O);
}

}  // namespace bts::cuda::BTS_PRECISION
