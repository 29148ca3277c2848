// Causal attention with a running softmax (Dao et al., FlashAttention): a block keeps kRows rows of queries and passes
// over the keys they see; neither scores nor probabilities are written.
//   out = softmax(capped(scale q k^T)) v    lse = log of the softmax's sum
// Few queries over a long cache (decoding) are split over the keys too; a second kernel joins the parts.
#include "../native/error.h"
#include "attention_hopper.cuh"
#include "attention_tiles.cuh"
#include "cuda_ops.h"
#include "reduce.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int kWidth>
using Tiles = ForwardTiles<act, kWidth>;
constexpr int kSplitKeys = 256;  // of one split: fixed, so that a result does not depend on the device

// One split writes its own softmax: out normalised, lse -infinity where it has no key for a row.
struct Parts {
  float *out, *lse;  // [splits, M*B, K, R, D] and [splits, M*B, K, R]; null without splits
  int splits;
};

template <int kWidth>
__global__ void __launch_bounds__(Tiles<kWidth>::kThreads, 1) attention_kernel(act* out, float* lse, const act* q,
                                                                               const act* k, const act* v, Attend a,
                                                                               PageTable pages, Parts parts) {
  DYNAMIC_SHARED(shared);
  using Queries = typename Tiles<kWidth>::Queries;
  using Keys = typename Tiles<kWidth>::Keys;
  constexpr int kRows = Tiles<kWidth>::kRows, kKeys = Tiles<kWidth>::kKeys, kThreads = Tiles<kWidth>::kThreads;
  act* const tile_q = reinterpret_cast<act*>(shared);
  act* const stages = tile_q + Queries::kSize;
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
  // Positions of this warp's first and last row; a warp without rows sees nothing.
  const int warp_row = r0 + warp * 16;
  const int warp_first = start + warp_row / a.group;
  const int warp_last = warp_row < a.rows() ? start + min(warp_row + 15, a.rows() - 1) / a.group : -1;

  float sums[1][kWidth / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
  int position[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int r = warp_row + row_of(lane, half * 2);
    position[half] = r < a.rows() ? start + r / a.group : -1;  // which sees nothing
  }

  const auto load = [&](int j0) {
    if (j0 < end) {
      act* const stage = stages + j0 / kKeys % 2 * (2 * Keys::kSize);
      const auto bring = [&](act* to, const act* from) {
        if (pages.table) load_keys<Keys, kThreads>(to, from, a, pages, sequence, head, j0, first_seen, end);
        else load_keys<Keys, kThreads>(to, from, a, sequence, head, j0, first_seen, end);
      };
      bring(stage, k);
      bring(stage + Keys::kSize, v);
    }
    cp_async_commit();
  };
  if (first < end) load_queries<Queries, kThreads>(tile_q, q, a, sequence, head, r0);
  load(first);
  cp_async_wait<0>();
  __syncthreads();  // queries have arrived
  const std::conditional_t<Tiles<kWidth>::kQueriesInRegisters, RowsInRegisters<Queries>, RowsInTile<Queries>> queries(
      RowsInTile<Queries>{tile_q, warp * 16});
  for (int j0 = first; j0 < end; j0 += kKeys) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has arrived, the other one has been read
    load(j0 + kKeys);
    if (j0 > warp_last) continue;
    const act *const tile_k = stages + j0 / kKeys % 2 * (2 * Keys::kSize), *const tile_v = tile_k + Keys::kSize;

    float scores[1][kKeys / 8][4];
    rows_times_rows<Keys>(scores, queries, tile_k);

    float new_top[2] = {top[0], top[1]};
#pragma unroll
    for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) scores[0][j][e] *= a.scale;
    if (a.softcap > 0)
#pragma unroll
      for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) scores[0][j][e] = capped<Math>(scores[0][j][e], a.softcap);
    // Most steps are seen whole by all rows of a warp: nothing is to be asked there.
    const auto score_all = [&](auto whole) {
#pragma unroll
      for (int j = 0; j < kKeys / 8; j++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const bool seen = whole || a.sees(position[e / 2], j0 + j * 8 + col_of(lane, e));
          if (!seen) scores[0][j][e] = -INFINITY;
          new_top[e / 2] = fmaxf(new_top[e / 2], scores[0][j][e]);
        }
    };
    if (j0 + kKeys - 1 <= warp_first && j0 >= a.first_key(warp_last)) score_all(std::true_type());
    else score_all(std::false_type());
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

constexpr int kJoining = 4;  // warps of a block

// Joins the splits of one row: out = sum of exp(lse_s - lse) out_s. One warp owns a row.
__global__ void __launch_bounds__(kJoining * 32) join_splits_kernel(act* out, float* lse, Parts parts, Attend a,
                                                                    int sequences) {
  const int64_t rows = int64_t{sequences} * a.K * a.rows(), row = int64_t{blockIdx.x} * kJoining + threadIdx.x / 32;
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
  const auto [q, k, v, pages, starts, out, lse, size] = op;
  if (size.D > kWidest)
    throw Error("BAD_SHAPE", "attention on CUDA takes heads of width " + std::to_string(kWidest) + " at most, not " +
                                 std::to_string(size.D));
  if (attended_on_hopper(context_, op)) return;
  context_.scratch().reset();
  const Attend a = Attend::of(size, starts);
  const int64_t rows = size.T * a.group, sequences = size.M * size.B, all = sequences * size.K * rows;
  with_head_width(size.D, [&](auto width) {
    using Tiles = Tiles<width>;
    const int tiles = ceil_div(rows, Tiles::kRows);
    Parts parts{nullptr, nullptr, tiles == 1 ? std::max(1, ceil_div(size.S, kSplitKeys)) : 1};
    if (parts.splits > 1) {
      parts.out = context_.scratch().take<float>(parts.splits * all * size.D);
      parts.lse = context_.scratch().take<float>(parts.splits * all);
    }
    GPU_LAUNCH(context_, attention_kernel<width>, dim3(tiles * parts.splits, size.K, sequences), dim3(Tiles::kThreads),
               Tiles::kSharedBytes, out, lse, q, k, v, a, PageTable(pages), parts);
    if (parts.splits > 1)
      GPU_LAUNCH(context_, join_splits_kernel, dim3(ceil_div(all, kJoining)), dim3(kJoining * 32), 0, out, lse, parts,
                 a, static_cast<int>(sequences));
  });
}

}  // namespace bts::cuda::BTS_PRECISION
