#include "../native/quantized.h"

#include <algorithm>
#include <cfloat>
#include <string>
#include <vector>

#include "cuda_ops.h"
#include "gemm/operands.h"
#include "members.cuh"
#include "reduce.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

// To the nearest whole number, ties to even.
__device__ __forceinline__ float nearest(float x) { return rintf(x); }

__device__ __forceinline__ float inverse_of(float scale) { return scale >= FLT_MIN ? 1 / scale : 0; }

// Numbers of a group as if the largest were near 1, and what they are to be multiplied with again.
template <class From>
struct Numbers {
  const From* from;
  int count;
  int exponent;
  float factor;  // 2^-exponent

  __device__ __forceinline__ float at(int k) const { return to_float(from[k]) * factor; }
};

// What codes give by a scale and an offset, and the scale and the offset that suit these codes best: see native/cpu/quantize.cc.
struct Fit {
  float scale, offset, error;
  float next_scale, next_offset;
};

__device__ __forceinline__ float code_of(float x, float inverse, float offset) {
  return nearest(fmaxf(fminf((x - offset) * inverse, 15), 0));
}

template <class From>
__device__ __forceinline__ Fit fit(const Numbers<From>& x, float scale, float offset) {
  const float inverse = inverse_of(scale);
  float squares = 0, Q = 0, QQ = 0, X = 0, XQ = 0;
  for (int k = 0; k < x.count; k++) {
    const float value = x.at(k), q = code_of(value, inverse, offset), difference = value - (q * scale + offset);
    squares += difference * difference;
    Q += q;
    QQ += q * q;
    X += value;
    XQ += value * q;
  }
  const float n = static_cast<float>(x.count), determinant = n * QQ - Q * Q;
  Fit result{scale, offset, squares, scale, offset};
  if (determinant > 0) {
    result.next_scale = (n * XQ - Q * X) / determinant;
    result.next_offset = (X - Q * result.next_scale) / n;
  }
  return result;
}

template <class From>
__device__ __forceinline__ void quantize_group(Int4Group& group, const Numbers<From>& x, float least, float most) {
  constexpr int kTurns = 6, kShares = 5, kHalf = Int4Group::kNumbers / 2;
  Fit best{0, least / 2 + most / 2, INFINITY, 0, 0};
#pragma unroll 1
  for (int share = 0; share < kShares; share++) {
    float scale = (most / 15 - least / 15) * (0.6f + 0.1f * share), offset = least / 2 + most / 2 - 7.5f * scale;
#pragma unroll 1
    for (int turn = 0; turn < kTurns && scale >= FLT_MIN; turn++) {
      const Fit now = fit(x, scale, offset);
      if (now.error < best.error) best = now;
      if (now.next_scale == scale && now.next_offset == offset) break;
      scale = now.next_scale;
      offset = now.next_offset;
    }
  }
  group.scale = ldexpf(best.scale, x.exponent);
  group.offset = ldexpf(best.offset, x.exponent);
  const float inverse = inverse_of(best.scale);
  const auto code = [&](int k) {
    return k < x.count ? static_cast<unsigned>(code_of(x.at(k), inverse, best.offset)) : 0u;
  };
  for (int k = 0; k < kHalf; k++) group.codes[k] = static_cast<uint8_t>(code(k) | code(k + kHalf) << 4);
}

template <class From>
__device__ __forceinline__ float error_of(const Numbers<From>& x, float scale) {
  const float inverse = inverse_of(scale);
  float squares = 0;
  for (int k = 0; k < x.count; k++) {
    const float value = x.at(k), code = nearest(fmaxf(fminf(value * inverse, 127), -127));
    const float difference = value - code * scale;
    squares += difference * difference;
  }
  return squares;
}

template <class From>
__device__ __forceinline__ void quantize_group(Int8Group& group, const Numbers<From>& x, float least, float most) {
  float scale = fmaxf(-least, most) / 127;
  int exponent;
  if (const float error = error_of(x, scale); frexpf(scale, &exponent) != 0 && error != 0)
    if (const float power = ldexpf(1, exponent); error_of(x, power) < error) scale = power;
  group.scale = ldexpf(scale, x.exponent);
  const float inverse = inverse_of(scale);
  for (int k = 0; k < Int8Group::kNumbers; k++)
    group.codes[k] = k < x.count ? static_cast<int8_t>(nearest(fmaxf(fminf(x.at(k) * inverse, 127), -127))) : 0;
}

// A thread makes a group. `wrong` gets the last number before `all`, counted from there, that is not finite and that a thread of the block
// has met first; 0: there is none.
template <class Group>
__global__ void __launch_bounds__(kThreads) quantize_kernel(Group* y, const Weight x, int64_t* wrong, int64_t O,
                                                            int64_t I, int64_t in_row) {
  DYNAMIC_SHARED(shared);
  int64_t found = 0;
  with_elements(x, [&]<class From>(const From* from) {
    for (int64_t row = blockIdx.x; row < O; row += gridDim.x)
      for (int64_t j = threadIdx.x; j < in_row; j += blockDim.x) {
        const int64_t first = j * Group::kNumbers, begin = row * I + first;
        const int count = static_cast<int>(I - first < Group::kNumbers ? I - first : Group::kNumbers);
        float least = INFINITY, most = -INFINITY;
        int bad = count;
        for (int k = count - 1; k >= 0; k--) {
          const float value = to_float(from[begin + k]);
          if (!(fabsf(value) <= FLT_MAX)) bad = k;
          least = fminf(least, value);
          most = fmaxf(most, value);
        }
        if (bad < count) {
          found = max(found, O * I - (begin + bad));
          continue;
        }
        int exponent;
        frexpf(fmaxf(-least, most), &exponent);
        exponent = min(max(exponent, -126), 126);
        const Numbers<From> numbers{from + begin, count, exponent, ldexpf(1, -exponent)};
        quantize_group(y[row * in_row + j], numbers, least * numbers.factor, most * numbers.factor);
      }
  });
  found = block_max(found, reinterpret_cast<int64_t*>(shared));
  if (threadIdx.x == 0) wrong[blockIdx.x] = found;
}

}  // namespace

void CudaOps::run(const Quantize& op) {
  const auto& [x, y, to, O, I] = op;
  context_.scratch().reset();
  const auto launch = [&]<class Group>(Group* groups) {
    const int64_t in_row = row_stride(to, I) / Group::kNumbers;
    const dim3 grid = grid_for(context_, in_row > 0 ? O * kThreads : 0);
    auto* const wrong = context_.scratch().take<int64_t>(grid.x);
    GPU_LAUNCH(context_, quantize_kernel<Group>, grid, kThreads, kThreads / 32 * sizeof(int64_t), groups, x, wrong, O,
               I, in_row);
    // Numbers that are not finite are seen on the device alone, and have to be told: a load may wait.
    std::vector<int64_t> found(grid.x);
    CUDA_EXPECT(cudaMemcpyAsync(found.data(), wrong, found.size() * sizeof(int64_t), cudaMemcpyDeviceToHost,
                                context_.stream()));
    CUDA_EXPECT(cudaStreamSynchronize(context_.stream()));
    const int64_t before_end = found.empty() ? 0 : *std::max_element(found.begin(), found.end());
    if (before_end == 0) return;
    const int64_t at = O * I - before_end;
    throw Error("BAD_CHECKPOINT", "the number at [" + std::to_string(at / I) + ", " + std::to_string(at % I) +
                                      "] is not finite, and has no place among the codes of " + name_of(to));
  };
  if (to == DType::Int8) launch(static_cast<Int8Group*>(y));
  else launch(static_cast<Int4Group*>(y));
}

void CudaOps::run(const Dequantize& op) {
  const auto& [x, y, O, I] = op;
  widen_matrix(context_, y, x, O, I);
}

}  // namespace bts::cuda::BTS_PRECISION
