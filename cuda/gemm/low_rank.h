// What adapters add to matrices, as products take it.
#pragma once

#include <vector>

#include "../cuda_ops.h"
#include "../members.cuh"

namespace bts::cuda::BTS_PRECISION {

// An adapter beside tensor cores: A [depth,I] and s B [O,depth] in the type of activations, and room for what lies between its
// two products, [N,depth]. The depth is the rank, filled up with zeros so that rows begin on 16 bytes. 0: there is none.
struct Adapter {
  const act *down, *up;
  act* rows;
  int64_t depth;
};

// Those of all members; one launch writes what has another type, scale or depth.
std::vector<Adapter> adapters(Context& context, LowRanks low_rank, int64_t N, int64_t I, int64_t O);

// rows_m = x_m A_m^T, or dy_m s B_m, of all members that have an adapter. x [M,N,I]  dy [M,N,O]
void launch_down(Context& context, const std::vector<Adapter>& all, const act* x, int64_t N, int64_t I);
void launch_up_backward(Context& context, const std::vector<Adapter>& all, const act* dy, int64_t N, int64_t O);

// What adapters add to a few rows: sums s x_m A_m^T in f32, [N,rank], and B_m. Lists are empty where there are none.
struct LowRankRows {
  const float* rows[kMembers];
  WeightList up;
  int rank[kMembers];
  int N;  // rows of a member

  // Of members first..; none where the list is empty.
  static LowRankRows of(LowRanks low_rank, const std::vector<float*>& rows, int64_t first, int64_t N) {
    LowRankRows list{};
    list.N = static_cast<int>(N);
    for (int64_t m = 0; m < kMembers && first + m < std::ssize(low_rank); m++) {
      list.rows[m] = rows[first + m];
      list.up.data[m] = low_rank[first + m].up.data;
      list.up.dtype[m] = low_rank[first + m].up.dtype;
      list.rank[m] = static_cast<int>(low_rank[first + m].rank);
    }
    return list;
  }

  // To output o of row n, counted from the first row of member m.
  __device__ __forceinline__ float sum(int m, int n, int o) const {
    const int member = m + n / N, R = rank[member];
    if (R == 0) return 0;
    const float* const t = rows[member] + n % N * R;
    float sum = 0;
    with_elements(up, member, [&](auto* b) {
      for (int r = 0; r < R; r++) sum = fmaf(t[r], to_float(b[int64_t{o} * R + r]), sum);
    });
    return sum;
  }
};

// The sums of every member for N <= kGemvRows, in scratch memory.
std::vector<float*> launch_few_down(Context& context, const act* x, LowRanks low_rank, int64_t N, int64_t I);

}  // namespace bts::cuda::BTS_PRECISION
