#include "low_rank.h"

#include <set>

#include "../reduce.cuh"
#include "gemm.cuh"
#include "gemv.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

// to [to_rows,to_cols] = scale from [rows,cols], and zeros beyond.
struct Copy {
  act* to;
  Weight from;
  int rows, cols, to_rows, to_cols;
  float scale;
};
struct Copies {
  Copy at[kMembers];
};

__global__ void __launch_bounds__(kThreads) pad_kernel(const __grid_constant__ Copies copies) {
  const Copy& copy = copies.at[blockIdx.y];
  with_elements(copy.from, [&](auto* from) {
    for (int64_t i = grid_thread(); i < int64_t{copy.to_rows} * copy.to_cols; i += grid_threads()) {
      const int row = i / copy.to_cols, col = i % copy.to_cols;
      const bool exists = row < copy.rows && col < copy.cols;
      copy.to[i] = from_float<act>(exists ? copy.scale * to_float(from[int64_t{row} * copy.cols + col]) : 0.f);
    }
  });
}

void launch_copies(Context& context, const std::vector<Copy>& all) {
  for_members(all.size(), [&](int64_t first, int64_t count) {
    Copies copies{};
    std::copy_n(all.begin() + first, count, copies.at);
    int64_t most = 0;
    for (int64_t i = 0; i < count; i++) most = std::max(most, int64_t{copies.at[i].to_rows} * copies.at[i].to_cols);
    if (most > 0) GPU_LAUNCH(context, pad_kernel, dim3(grid_for(context, most).x, count), kThreads, 0, copies);
  });
}

constexpr int kWarps = 8;

struct Downs {
  const act* x[kMembers];
  Weight down[kMembers];
  float* rows[kMembers];
  int rank[kMembers];
  float scale[kMembers];
  int N, I;
};

// A warp has a row of A.
__global__ void __launch_bounds__(kWarps * 32) few_down_kernel(const __grid_constant__ Downs s) {
  const int m = blockIdx.y, r = blockIdx.x * kWarps + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (r >= s.rank[m]) return;
  float sums[kGemvRows] = {};
  with_elements(s.down[m], [&](auto* a) {
    for (int i = lane; i < s.I; i += 32) {
      const float weight = to_float(a[int64_t{r} * s.I + i]);
#pragma unroll
      for (int n = 0; n < kGemvRows; n++)
        if (n < s.N) sums[n] = fmaf(to_float(s.x[m][int64_t{n} * s.I + i]), weight, sums[n]);
    }
  });
#pragma unroll
  for (int n = 0; n < kGemvRows; n++) {
    const float sum = warp_sum(sums[n]);
    if (lane == 0 && n < s.N) s.rows[m][n * s.rank[m] + r] = s.scale[m] * sum;
  }
}

// Calls f(member, adapter) for those of one depth after those of another, and launch() behind at most kMaxGroups of them.
template <class Begin, class F, class Launch>
void by_depth(const std::vector<Adapter>& all, Begin&& begin, F&& f, Launch&& launch) {
  std::set<int64_t> depths;
  for (const Adapter& adapter : all)
    if (adapter.depth > 0) depths.insert(adapter.depth);
  for (const int64_t depth : depths) {
    int groups = 0;
    for (size_t m = 0; m < all.size(); m++) {
      if (all[m].depth != depth) continue;
      if (groups == 0) begin(depth);
      f(static_cast<int64_t>(m), all[m]);
      if (++groups < kMaxGroups) continue;
      launch();
      groups = 0;
    }
    if (groups > 0) launch();
  }
}

}  // namespace

std::vector<Adapter> adapters(Context& context, LowRanks low_rank, int64_t N, int64_t I, int64_t O) {
  constexpr int64_t kVector = 16 / sizeof(act);
  std::vector<Adapter> all;
  std::vector<Copy> copies;
  // The matrix itself where it is what products take.
  const auto ready = [&](const Weight& from, int64_t rows, int64_t cols, int64_t to_rows, int64_t to_cols,
                         float scale) {
    if (from.dtype == dtype_of<act> && rows == to_rows && cols == to_cols && scale == 1)
      return static_cast<const act*>(from.data);
    act* const to = context.scratch().take<act>(to_rows * to_cols);
    copies.push_back({to, from, static_cast<int>(rows), static_cast<int>(cols), static_cast<int>(to_rows),
                      static_cast<int>(to_cols), scale});
    return static_cast<const act*>(to);
  };
  for (const auto& [down, up, rank, scale] : low_rank) {
    const int64_t depth = (rank + kVector - 1) / kVector * kVector;
    if (rank == 0) all.push_back({});
    else
      all.push_back({ready(down, rank, I, depth, I, 1), ready(up, O, rank, O, depth, scale),
                     context.scratch().take<act>(N * depth), depth});
  }
  launch_copies(context, copies);
  return all;
}

void launch_down(Context& context, const std::vector<Adapter>& all, const act* x, int64_t N, int64_t I) {
  std::unique_ptr<Gemm<act, act>> gemm;
  by_depth(
      all, [&](int64_t depth) { gemm = std::make_unique<Gemm<act, act>>(N, depth); },
      [&](int64_t m, const Adapter& adapter) {
        gemm->group(adapter.rows);
        gemm->add({x + m * N * I, I}, {adapter.down, I}, I);
      },
      [&] { launch_gemm<Depth::Inner, Depth::Inner>(context, *gemm); });
}

void launch_up_backward(Context& context, const std::vector<Adapter>& all, const act* dy, int64_t N, int64_t O) {
  std::unique_ptr<Gemm<act, act>> gemm;
  by_depth(
      all, [&](int64_t depth) { gemm = std::make_unique<Gemm<act, act>>(N, depth); },
      [&](int64_t m, const Adapter& adapter) {
        gemm->group(adapter.rows);
        gemm->add({dy + m * N * O, O}, {adapter.up, adapter.depth}, O);
      },
      [&] { launch_gemm<Depth::Inner, Depth::Outer>(context, *gemm); });
}

std::vector<float*> launch_few_down(Context& context, const act* x, LowRanks low_rank, int64_t N, int64_t I) {
  std::vector<float*> rows;
  for (const LowRank& each : low_rank) rows.push_back(context.scratch().take<float>(N * each.rank));
  for_members(low_rank.size(), [&](int64_t first, int64_t count) {
    Downs s{};
    s.N = static_cast<int>(N), s.I = static_cast<int>(I);
    int64_t most = 0;
    for (int64_t m = 0; m < count; m++) {
      const auto& [down, _, rank, scale] = low_rank[first + m];
      s.x[m] = x + (first + m) * N * I;
      s.down[m] = down;
      s.rows[m] = rows[first + m];
      s.rank[m] = static_cast<int>(rank);
      s.scale[m] = scale;
      most = std::max(most, rank);
    }
    if (most > 0) GPU_LAUNCH(context, few_down_kernel, dim3(ceil_div(most, kWarps), count), dim3(kWarps * 32), 0, s);
  });
  return rows;
}

}  // namespace bts::cuda::BTS_PRECISION
