// What differs from member to member, as an argument of a kernel: weights in precisions of their own, and gradients.
#pragma once

#include <algorithm>

#include "gpu.cuh"

namespace bts::cuda {

constexpr int kMembers = 16;  // that one launch takes; more are several launches

struct WeightList {
  const void* data[kMembers];
  DType dtype[kMembers];

  __host__ __device__ __forceinline__ Weight operator[](int m) const { return {data[m], dtype[m]}; }

  // Members first..first+count-1 of `weights`, at most kMembers; none where the list is empty.
  static WeightList of(Weights weights, int64_t first, int64_t count) {
    WeightList list{};
    for (int64_t m = 0; m < count && !weights.empty(); m++) {
      list.data[m] = weights[first + m].data;
      list.dtype[m] = weights[first + m].dtype;
    }
    return list;
  }
};

struct GradientList {
  float* data[kMembers];

  static GradientList of(Gradients gradients, int64_t first, int64_t count) {
    GradientList list{};
    for (int64_t m = 0; m < count && !gradients.empty(); m++) list.data[m] = gradients[first + m];
    return list;
  }
};

// Calls f(first, count) for groups of members that fit one launch.
template <class F>
void for_members(int64_t members, F&& f) {
  for (int64_t first = 0; first < members; first += kMembers) f(first, std::min<int64_t>(kMembers, members - first));
}

struct ReadF32 {
  const float* data;
  __device__ float operator[](int64_t i) const { return data[i]; }
};
struct ReadBf16 {
  const bf16* data;
  __device__ float operator[](int64_t i) const { return to_float(data[i]); }
};
struct ReadF16 {
  const uint16_t* data;
  __device__ float operator[](int64_t i) const { return f16_to_float(data[i]); }
};

// Calls f with a reader whose [i] is element i of the weight in f32. All threads of a block take the same branch where the weight
// is the same for all.
template <class F>
__device__ __forceinline__ void with_reader(const Weight& weight, F&& f) {
  switch (weight.dtype) {
    case DType::BF16: return f(ReadBf16{static_cast<const bf16*>(weight.data)});
    case DType::F16: return f(ReadF16{static_cast<const uint16_t*>(weight.data)});
    default: return f(ReadF32{static_cast<const float*>(weight.data)});
  }
}
template <class F>
__device__ __forceinline__ void with_reader(const WeightList& list, int m, F&& f) {
  with_reader(list[m], f);
}

}  // namespace bts::cuda
