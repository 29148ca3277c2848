// What differs from member to member, as an argument of a kernel: weights in precisions of their own, and gradients.
#pragma once

#include <algorithm>
#include <vector>

#include "vectors.cuh"

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

// As with_width of vectors.cuh, where rows of the weights are read as well.
template <class F>
void with_width(int64_t n, std::initializer_list<const void*> places, Weights weights, F&& f) {
  std::vector<const void*> all(places);
  for (const Weight& weight : weights) all.push_back(weight.data);
  with_width(n, all, f);
}

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

// Calls f with the elements of a weight, in their type. All threads of a block take the same branch where the weight is the same
// for all.
template <class F>
__device__ __forceinline__ void with_elements(const Weight& weight, F&& f) {
  switch (weight.dtype) {
    case DType::BF16: return f(static_cast<const bf16*>(weight.data));
    case DType::F16: return f(static_cast<const f16*>(weight.data));
    default: return f(static_cast<const float*>(weight.data));
  }
}
template <class F>
__device__ __forceinline__ void with_elements(const WeightList& list, int m, F&& f) {
  with_elements(list[m], f);
}

}  // namespace bts::cuda
