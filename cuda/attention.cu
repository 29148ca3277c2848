// Causal attention with a running softmax (Dao et al., FlashAttention): a block keeps kRows rows of queries and passes
// over the keys they see; neither scores nor probabilities are written.
//   out = softmax(capped(scale q k^T)) v    lse = log of the softmax's sum
// Few queries over a long cache (decoding) are split over the keys too; a second kernel joins the parts.
#include "../native/error.h"
#include "attention_tiles.cuh"
#include "cuda_ops.h"
#include "reduce.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int kWidth>
using Tiles = ForwardTiles<act, kWidth>;
// The same for all widths.
constexpr int kWarps = Tiles<64>::kWarps, kRows = Tiles<64>::kRows, kThreads = Tiles<64>::kThreads;
constexpr int kSplitKeys = 256;  // of one split: fixed, so that a result does not depend on the device

// One split writes its own softmax: out normalised, lse -infinity where it has no key for a row.
struct Parts {
  float *out, *lse;  // [splits, M*B, K, R, D] and [splits, M*B, K, R]; null without splits
  int splits;
};

// Two blocks on a multiprocessor: left to guess, ptxas spills for the sake of a third.
template <int kWidth>
__global__ void __launch_bounds__(kThreads, 2) attention_kernel(act* out, float* lse, const act* q, const act* k,
                                                                const act* v, Attend a, Parts parts) {
  DYNAMIC_SHARED(shared);
  using Queries = typename Tiles<kWidth>::Queries;
  using Keys = typename Tiles<kWidth>::Keys;
  constexpr int kKeys = Tiles<kWidth>::kKeys;
  act* const tile_q = reinterpret_cast<act*>(shared);
  act *const tile_k = tile_q + Queries::kSize, *const tile_v = tile_k + Keys::kSize;
  const int tiles = gridDim.x / parts.splits, split = blockIdx.x % parts.splits;
  const int r0 = (tiles - 1 - blockIdx.x / parts.splits) * kRows;  // those with most keys first
  const int head = blockIdx.y, sequence = blockIdx.z, start = a.start(sequence);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  // The keys that some row of this tile sees, in whole steps; a split takes its share.
  const int last_row = min(r0 + kRows, a.rows()) - 1;
  const int first_seen = a.first_key(start + r0 / a.group);
  int first = first_seen / kKeys * kKeys, end = start + last_row / a.group + 1;
  if (parts.splits > 1) {
    first = max(first, split * kSplitKeys);
    end = min(end, (split + 1) * kSplitKeys);
  }

  float sums[1][kWidth / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
  int position[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int r = r0 + warp * 16 + row_of(lane, half * 2);
    position[half] = r < a.rows() ? start + r / a.group : -1;  // which sees nothing
  }

  if (first < end) {
    load_queries<Queries, kThreads>(tile_q, q, a, sequence, head, r0);
    load_keys<Keys, kThreads>(tile_k, k, a, sequence, head, first, first_seen, end);
    cp_async_commit();
  }
  for (int j0 = first; j0 < end; j0 += kKeys) {
    cp_async_wait<0>();
    __syncthreads();  // keys have arrived, the values before have been read
    load_keys<Keys, kThreads>(tile_v, v, a, sequence, head, j0, first_seen, end);
    cp_async_commit();

    float scores[1][kKeys / 8][4];
    rows_times_rows<Queries, Keys>(scores, tile_q, warp * 16, tile_k);
    __syncthreads();  // keys have been read
    if (j0 + kKeys < end) load_keys<Keys, kThreads>(tile_k, k, a, sequence, head, j0 + kKeys, first_seen, end);
    cp_async_commit();

    float new_top[2] = {top[0], top[1]};
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool seen = a.sees(position[e / 2], j0 + j * 8 + col_of(lane, e));
        scores[0][j][e] = seen ? a.score(scores[0][j][e]) : -INFINITY;
        new_top[e / 2] = fmaxf(new_top[e / 2], scores[0][j][e]);
      }
    float shift[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
      new_top[half] = fmaxf(new_top[half], __shfl_xor_sync(kAllLanes, new_top[half], 1));
      new_top[half] = fmaxf(new_top[half], __shfl_xor_sync(kAllLanes, new_top[half], 2));
      shift[half] = new_top[half] == -INFINITY ? 0.0f : new_top[half];  // no key yet: all weights are exp(-infinity)
      const float shrink = __expf(top[half] - shift[half]);
      total[half] *= shrink;
      top[half] = new_top[half];
#pragma unroll
      for (int d = 0; d < kWidth / 8; d++) sums[0][d][half * 2] *= shrink, sums[0][d][half * 2 + 1] *= shrink;
    }
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) total[e / 2] += scores[0][j][e] = __expf(scores[0][j][e] - shift[e / 2]);

    cp_async_wait<1>();
    __syncthreads();  // values have arrived
    weights_times_rows<Keys>(sums, scores, tile_v);
  }
  cp_async_wait<0>();

#pragma unroll
  for (int half = 0; half < 2; half++) {
    total[half] += __shfl_xor_sync(kAllLanes, total[half], 1);
    total[half] += __shfl_xor_sync(kAllLanes, total[half], 2);
    const int r = r0 + warp * 16 + row_of(lane, half * 2);
    if (r >= a.rows()) continue;
    const float inverse = total[half] > 0 ? 1 / total[half] : 0.0f;
    const float log_sum = top[half] + logf(total[half]);
    if (parts.splits > 1) {
      const int64_t row = ((int64_t{split} * gridDim.z + sequence) * a.K + head) * a.rows() + r;
      if (lane % 4 == 0) parts.lse[row] = log_sum;
      for (int d = 0; d < kWidth / 8; d++)
        for (int c = 0; c < 2; c++) {
          const int col = d * 8 + col_of(lane, c);
          if (col < a.D) parts.out[row * a.D + col] = sums[0][d][half * 2 + c] * inverse;
        }
      continue;
    }
    if (lse && lane % 4 == 0) lse[a.statistic(sequence, head, r)] = log_sum;
#pragma unroll
    for (int d = 0; d < kWidth / 8; d++) {
      const int col = d * 8 + col_of(lane, 0);
      if (col < a.D)
        store_pair(out + a.query(sequence, head, r) + col, sums[0][d][half * 2] * inverse,
                   sums[0][d][half * 2 + 1] * inverse, col + 1 < a.D);
    }
  }
}

// Joins the splits of one row: out = sum of exp(lse_s - lse) out_s. One warp owns a row.
__global__ void __launch_bounds__(kThreads) join_splits_kernel(act* out, float* lse, Parts parts, Attend a,
                                                               int sequences) {
  const int64_t rows = int64_t{sequences} * a.K * a.rows(), row = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= rows) return;
  const int lane = threadIdx.x % 32, r = row % a.rows(), head = row / a.rows() % a.K;
  const int sequence = static_cast<int>(row / a.rows() / a.K);
  float top = -INFINITY, total = 0;
  for (int s = 0; s < parts.splits; s++) top = fmaxf(top, parts.lse[s * rows + row]);
  for (int s = 0; s < parts.splits; s++) total += __expf(parts.lse[s * rows + row] - top);
  if (lse && lane == 0) lse[a.statistic(sequence, head, r)] = top + logf(total);
  for (int d = lane; d < a.D; d += 32) {
    float sum = 0;
    for (int s = 0; s < parts.splits; s++) {
      const float weight = __expf(parts.lse[s * rows + row] - top);
      if (weight > 0) sum = fmaf(weight, parts.out[(s * rows + row) * a.D + d], sum);
    }
    out[a.query(sequence, head, r) + d] = from_float<act>(sum / total);
  }
}

}  // namespace

void CudaOps::run(const AttentionForward& op) {
  const auto [q, k, v, starts, out, lse, size] = op;
  if (size.D > kWidest)
    throw Error("BAD_SHAPE", "attention on CUDA takes heads of width " + std::to_string(kWidest) + " at most, not " +
                                 std::to_string(size.D));
  context_.scratch().reset();
  const Attend a = Attend::of(size, starts);
  const int64_t rows = size.T * a.group, sequences = size.M * size.B, all = sequences * size.K * rows;
  const int tiles = ceil_div(rows, kRows);
  Parts parts{nullptr, nullptr, tiles == 1 ? std::max(1, ceil_div(size.S, kSplitKeys)) : 1};
  if (parts.splits > 1) {
    parts.out = context_.scratch().take<float>(parts.splits * all * size.D);
    parts.lse = context_.scratch().take<float>(parts.splits * all);
  }
  with_head_width(size.D, [&](auto width) {
    GPU_LAUNCH(context_, attention_kernel<width>, dim3(tiles * parts.splits, size.K, sequences), dim3(kThreads),
               Tiles<width>::kSharedBytes, out, lse, q, k, v, a, parts);
  });
  if (parts.splits > 1)
    GPU_LAUNCH(context_, join_splits_kernel, dim3(ceil_div(all, kWarps)), dim3(kThreads), 0, out, lse, parts, a,
               static_cast<int>(sequences));
}

}  // namespace bts::cuda::BTS_PRECISION
