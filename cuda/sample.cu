// One block a row of logits. Nothing is sorted: which tokens stay is found by searching for the least score that does. All
// sums are of whole numbers, so the order in which threads add cannot change which token is drawn.
#include <algorithm>

#include "members.cuh"
#include "reduce.cuh"

#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;
constexpr int kRows = 32;              // whose options fit the arguments of a launch
constexpr float kLikeliest = 0x1p40f;  // the weight of the likeliest token; 2^23 of them can be summed

struct Options {
  Draw rows[kRows];
};

// Keys order as the scores do, equal zeros alike, with all that is no number on top.
__device__ __forceinline__ uint32_t key_of(float score) {
  if (score != score) return ~0u;
  const uint32_t bits = __float_as_uint(score + 0.0f);
  return bits ^ (bits >> 31 ? ~0u : 1u << 31);
}
__device__ __forceinline__ float score_of(uint32_t key) { return __uint_as_float(key ^ (key >> 31 ? 1u << 31 : ~0u)); }

struct Row {
  const float* scores;
  int64_t V;
  uint64_t* shared;  // room for a number of each warp

  // The sum of measure(score) over keys that are at least `least`.
  template <class Measure>
  __device__ uint64_t sum(uint64_t least, const Measure& measure) const {
    uint64_t own = 0;
    for (int64_t v = threadIdx.x; v < V; v += kThreads)
      if (key_of(scores[v]) >= least) own += measure(scores[v]);
    return block_sum(own, shared);
  }
};

struct Weigh {
  float top, scale;
  __device__ float operator()(float score) const { return expf((score - top) * scale); }
};
struct Weight40 {
  Weigh weigh;
  __device__ uint64_t operator()(float score) const { return static_cast<uint64_t>(weigh(score) * kLikeliest); }
};
struct One {
  __device__ uint64_t operator()(float) const { return 1; }
};

// The tokens kept of a row: those whose key is above `least`, and of its equals the first `equals`.
struct Kept {
  uint32_t least;
  uint64_t equals;
};

// The fewest tokens, from the likeliest on, whose measures sum to `enough`, which is from 1 to the sum of all.
template <class Measure>
__device__ Kept fewest(const Row& row, uint64_t enough, const Measure& measure) {
  // The greatest key from which on there is enough, two of its bits at a time.
  uint32_t least = 0;
  for (int bit = 30; bit >= 0; bit -= 2) {
    uint64_t sums[3] = {};
    for (int64_t v = threadIdx.x; v < row.V; v += kThreads) {
      const uint32_t key = key_of(row.scores[v]);
      const uint64_t x = measure(row.scores[v]);
      for (uint32_t k = 0; k < 3; k++)
        if (key >= least + ((k + 1) << bit)) sums[k] += x;
    }
    uint32_t steps = 0;
    for (const uint64_t sum : sums) steps += block_sum(sum, row.shared) >= enough;
    least += steps << bit;
  }
  const uint64_t missing = enough - row.sum(uint64_t{least} + 1, measure), each = measure(score_of(least));
  return {least, (missing + each - 1) / each};
}

__device__ Kept keep(const Row& row, const Draw& draw, const Weight40& weight) {
  Kept kept{0, ~uint64_t{0}};
  uint64_t candidates = 0;
  if (draw.top_k > 0) kept = fewest(row, min(draw.top_k, row.V), One{});
  if (draw.top_p < 1) {
    candidates = draw.top_k > 0 ? row.sum(uint64_t{kept.least} + 1, weight) + kept.equals * weight(score_of(kept.least))
                                : row.sum(0, weight);
    const auto enough = static_cast<uint64_t>(ceil(draw.top_p * static_cast<double>(candidates)));
    kept = fewest(row, min(max(enough, uint64_t{1}), candidates), weight);
  }
  return kept;
}

// Calls f(id, weight) for this warp's part of the row, 32 neighbours at a time; the weight is 0 of what is not kept. `before`
// of the tokens that equal the least stand in front of it.
template <class F>
__device__ void for_kept(const Row& row, const Kept& kept, uint64_t before, double min_p, const Weight40& weight,
                         F&& f) {
  const int lane = threadIdx.x % 32;
  const int64_t part = (row.V + kThreads - 1) / kThreads * 32, first = threadIdx.x / 32 * part;
  for (int64_t base = first; base < min(first + part, row.V); base += 32) {
    const int64_t v = base + lane;
    const float score = v < row.V ? row.scores[v] : -INFINITY;
    const uint32_t key = key_of(score);
    const uint32_t equal = __ballot_sync(kAllLanes, v < row.V && key == kept.least);
    const bool stays =
        key > kept.least || (equal >> lane & 1 && before + __popc(equal & ((1u << lane) - 1)) < kept.equals);
    before += __popc(equal);
    if (f(v, v < row.V && stays && weight.weigh(score) >= min_p ? weight(score) : 0)) return;
  }
}

// The sum of what the warps before this one share, and of all.
__device__ uint64_t before_warp(const uint64_t* shared, uint64_t& total) {
  uint64_t before = 0;
  total = 0;
  for (unsigned warp = 0; warp < kWarps; warp++) {
    if (warp == threadIdx.x / 32) before = total;
    total += shared[warp];
  }
  return before;
}

__device__ void draw_token(int32_t* id, const Row& row, const Kept& kept, const Draw& draw, const Weight40& weight) {
  const int lane = threadIdx.x % 32;
  uint64_t own = 0, total;
  for_kept(row, {kept.least, 0}, 0, 0, weight, [&](int64_t v, uint64_t) {
    own += v < row.V && key_of(row.scores[v]) == kept.least;
    return false;
  });
  share_of_warp(warp_sum(own), row.shared);
  const uint64_t equals_before = before_warp(row.shared, total);

  own = 0;
  for_kept(row, kept, equals_before, draw.min_p, weight, [&](int64_t, uint64_t x) {
    own += x;
    return false;
  });
  own = warp_sum(own);
  share_of_warp(own, row.shared);
  uint64_t sum = before_warp(row.shared, total);
  const uint64_t target = min(static_cast<uint64_t>(draw.uniform * static_cast<double>(total)), total - 1);
  if (target < sum || target >= sum + own) return;  // another warp's
  for_kept(row, kept, equals_before, draw.min_p, weight, [&](int64_t v, uint64_t x) {
    uint64_t upto = x;
    for (int lanes = 1; lanes < 32; lanes *= 2) {
      const uint64_t left = __shfl_up_sync(kAllLanes, upto, lanes);
      if (lane >= lanes) upto += left;
    }
    const uint32_t found = __ballot_sync(kAllLanes, sum + upto > target);
    if (found && lane == __ffs(found) - 1) *id = static_cast<int32_t>(v);
    sum += __shfl_sync(kAllLanes, upto, 31);
    return found != 0;
  });
}

__global__ void __launch_bounds__(kThreads) sample_kernel(int32_t* ids, float* scratch, Weight logits,
                                                          const int32_t* seen, int64_t V, int64_t S, int64_t first,
                                                          const __grid_constant__ Options options) {
  DYNAMIC_SHARED(shared);
  const Draw& draw = options.rows[blockIdx.x];
  float* scores = scratch + blockIdx.x * V;
  const int64_t n = first + blockIdx.x;
  with_elements(logits, [&](const auto* x) {
    for (int64_t v = threadIdx.x; v < V; v += kThreads) scores[v] = to_float(x[n * V + v]);
  });
  if (S > 0) {
    __syncthreads();
    for (int64_t i = threadIdx.x; i < S; i += kThreads) {
      const int32_t id = seen[n * S + i];
      if (id < 0) continue;
      const double score = scores[id];
      scores[id] = static_cast<float>(score * (score > 0 ? 1 / draw.repetition_penalty : draw.repetition_penalty));
    }
  }
  __syncthreads();

  // The largest score, and the lowest id that has it.
  uint64_t best = 0;
  for (int64_t v = threadIdx.x; v < V; v += kThreads)
    best = max(best, uint64_t{key_of(scores[v])} << 32 | static_cast<uint32_t>(~v));
  best = block_max(best, reinterpret_cast<uint64_t*>(shared));
  const float top = score_of(static_cast<uint32_t>(best >> 32));
  const bool finite = V > 0 && fabsf(top) < INFINITY;
  if (!finite || draw.temperature == 0) {
    if (threadIdx.x == 0) ids[n] = finite ? static_cast<int32_t>(~static_cast<uint32_t>(best)) : -1;
    return;
  }
  // Times zero or infinity, a difference would be no number.
  const float scale = static_cast<float>(min(max(1 / draw.temperature, 1e-37), 1e37));
  const Weight40 weight{{top, scale}};
  const Row row{scores, V, reinterpret_cast<uint64_t*>(shared)};
  draw_token(ids + n, row, keep(row, draw, weight), draw, weight);
}

}  // namespace

void CudaOps::run(const Sample& op) {
  const auto& [logits, seen, ids, draws, N, V, S] = op;
  context_.scratch().reset();
  float* scratch = context_.scratch().take<float>(std::min<int64_t>(N, kRows) * V);
  for (int64_t first = 0; first < N; first += kRows) {
    Options options{};
    const int64_t count = std::min<int64_t>(N - first, kRows);
    std::copy_n(draws.begin() + first, count, options.rows);
    GPU_LAUNCH(context_, sample_kernel, dim3(count), kThreads, kWarps * sizeof(uint64_t), ids, scratch, logits, seen, V,
               S, first, options);
  }
}

}  // namespace bts::cuda::BTS_PRECISION
