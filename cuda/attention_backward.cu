// Backward of causal attention. Probabilities are computed again from q, k and lse:
//   P = exp(S - lse), S = capped(scale q k^T)    dP = dout v^T    dS = P (dP - delta) slope,  delta = sum over d of dout out
//   slope = scale (1 - (S / cap)^2)
//   dv = P^T dout    dk = dS^T q    dq = dS k
// One kernel owns rows of dq and passes over the keys, another owns keys and passes over the rows that see them: P is
// computed twice, in exchange every sum has one owner and one order, and nothing is added atomically.
#include "../native/error.h"
#include "attention_backward_hopper.cuh"
#include "attention_tiles.cuh"
#include "cuda_ops.h"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int kWidth>
using Tiles = BackwardTiles<act, kWidth>;

struct Arguments {
  act *dq, *dk, *dv;
  const act *dout, *q, *k, *v;
  const float *lse, *delta;  // [M,B,H,T]
};

// delta [M*B, H, T]. Lanes behind the last row compute it too.
template <int kPack>
__global__ void __launch_bounds__(256) delta_kernel(float* delta, const act* dout, const act* out, int64_t rows, int T,
                                                    int H, int D) {
  const int64_t row = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / kLanesOfRow;  // of [M*B, T, H]
  const float sum = delta_of<kPack>(dout, out, min(row, rows - 1), D);
  if (row >= rows || threadIdx.x % kLanesOfRow != 0) return;
  const int64_t h = row % H, t = row / H % T, sequence = row / H / T;
  delta[(sequence * H + h) * T + t] = sum;
}

// Writes rows r of a result, which `place(r)` finds, null where there is none.
template <int kWidth, class Place>
__device__ __forceinline__ void store_rows(const float (&sums)[1][kWidth / 8][4], int D, const Place& place) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int e = 0; e < 4; e += 2) {
    act* const row = place(warp * 16 + row_of(lane, e));
    if (!row) continue;
#pragma unroll
    for (int d = 0; d < kWidth / 8; d++) {
      const int col = d * 8 + col_of(lane, 0);
      if (col < D) store_pair(row + col, sums[0][d][e], sums[0][d][e + 1], col + 1 < D);
    }
  }
}

// One block a multiprocessor is enough: without saying so, the float kernel gets fewer registers than it needs.
template <int kWidth>
__global__ void __launch_bounds__(Tiles<kWidth>::kThreads, 1) query_gradients_kernel(Arguments s, Attend a) {
  DYNAMIC_SHARED(shared);
  constexpr int kOwn = Tiles<kWidth>::kOwn, kPass = Tiles<kWidth>::kPass, kThreads = Tiles<kWidth>::kThreads;
  using Own = typename Tiles<kWidth>::Own;
  using Pass = typename Tiles<kWidth>::Pass;
  constexpr int kStage = 2 * Pass::kSize;
  act* const tile_q = reinterpret_cast<act*>(shared);
  act *const tile_dout = tile_q + Own::kSize, *const stages = tile_dout + Own::kSize;
  const int r0 = (gridDim.x - 1 - blockIdx.x) * kOwn, head = blockIdx.y, sequence = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  const int last_row = min(r0 + kOwn, a.rows()) - 1;
  const int first = a.first_key(r0 / a.group) / kPass * kPass, end = last_row / a.group + 1;
  const auto load = [&](int j0) {
    if (j0 < end) {
      act* const stage = stages + j0 / kPass % 2 * kStage;
      load_keys<Pass, kThreads>(stage, s.k, a, sequence, head, j0, 0, a.S);
      load_keys<Pass, kThreads>(stage + Pass::kSize, s.v, a, sequence, head, j0, 0, a.S);
    }
    cp_async_commit();
  };

  int position[2];
  float lse[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int r = r0 + warp * 16 + row_of(lane, half * 2);
    const bool exists = r < a.rows();
    position[half] = exists ? r / a.group : -1;  // which sees nothing
    lse[half] = exists ? s.lse[a.statistic(sequence, head, r)] : 0.0f;
    delta[half] = exists ? s.delta[a.statistic(sequence, head, r)] : 0.0f;
  }
  float dq[1][kWidth / 8][4] = {};
  load_queries<Own, kThreads>(tile_q, s.q, a, sequence, head, r0);
  load_queries<Own, kThreads>(tile_dout, s.dout, a, sequence, head, r0);
  load(first);
  for (int j0 = first; j0 < end; j0 += kPass) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has arrived, the other one has been read
    load(j0 + kPass);
    const act *const tile_k = stages + j0 / kPass % 2 * kStage, *const tile_v = tile_k + Pass::kSize;
    float p[1][kPass / 8][4], dp[1][kPass / 8][4];
    rows_times_rows<Pass>(p, RowsInTile<Own>{tile_q, warp * 16}, tile_k);
    rows_times_rows<Pass>(dp, RowsInTile<Own>{tile_dout, warp * 16}, tile_v);
#pragma unroll
    for (int j = 0; j < kPass / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const bool seen = a.sees(position[e / 2], j0 + j * 8 + col_of(lane, e));
        const float score = a.score(p[0][j][e]);
        const float weight = seen ? __expf(score - lse[e / 2]) : 0.0f;
        p[0][j][e] = weight * (dp[0][j][e] - delta[e / 2]) * a.slope(score);  // dS
      }
    weights_times_rows<Pass>(dq, p, tile_k);
  }
  cp_async_wait<0>();
  store_rows<kWidth>(dq, a.D, [&](int r) -> act* {
    return r0 + r < a.rows() ? s.dq + a.query(sequence, head, r0 + r) : nullptr;
  });
}

// Of the widest heads the sums of both do not fit the registers: two launches take one each.
enum class Of { Both, Keys, Values };

template <int kWidth, Of kOf>
__global__ void __launch_bounds__(Tiles<kWidth>::kThreads, 1) key_gradients_kernel(Arguments s, Attend a) {
  DYNAMIC_SHARED(shared);
  constexpr int kOwn = Tiles<kWidth>::kOwn, kPass = Tiles<kWidth>::kPass, kThreads = Tiles<kWidth>::kThreads;
  constexpr bool kKeys = kOf != Of::Values, kValues = kOf != Of::Keys;
  using Own = typename Tiles<kWidth>::Own;
  using Pass = typename Tiles<kWidth>::Pass;
  constexpr int kStage = 2 * Pass::kSize;
  act* const tile_k = reinterpret_cast<act*>(shared);
  act *const tile_v = tile_k + Own::kSize, *const stages = tile_v + Own::kSize;
  float* const statistics = reinterpret_cast<float*>(stages + 2 * kStage);  // lse and delta of each stage's rows
  const int j0 = blockIdx.x * kOwn, head = blockIdx.y, sequence = blockIdx.z;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  // The rows that see some key of this tile, in whole steps.
  const int first = j0 * a.group / kPass * kPass;
  const int end =
      a.window > 0 ? static_cast<int>(min(int64_t{a.rows()}, (int64_t{j0} + kOwn - 1 + a.window) * a.group)) : a.rows();
  const auto load = [&](int r0) {
    if (r0 < end) {
      const int stage = r0 / kPass % 2;
      load_queries<Pass, kThreads>(stages + stage * kStage, s.q, a, sequence, head, r0);
      load_queries<Pass, kThreads>(stages + stage * kStage + Pass::kSize, s.dout, a, sequence, head, r0);
      for (int i = threadIdx.x; i < 2 * kPass; i += kThreads) {
        const int r = r0 + i % kPass;
        const float* const from = i < kPass ? s.lse : s.delta;
        statistics[stage * 2 * kPass + i] = r < a.rows() ? from[a.statistic(sequence, head, r)] : 0.0f;
      }
    }
    cp_async_commit();
  };

  float dk[1][kWidth / 8][4] = {}, dv[1][kWidth / 8][4] = {};
  load_keys<Own, kThreads>(tile_k, s.k, a, sequence, head, j0, 0, a.S);
  load_keys<Own, kThreads>(tile_v, s.v, a, sequence, head, j0, 0, a.S);
  load(first);
  for (int r0 = first; r0 < end; r0 += kPass) {
    cp_async_wait<0>();
    __syncthreads();  // this stage has arrived, the other one has been read
    load(r0 + kPass);
    const int stage = r0 / kPass % 2;
    const act *const tile_q = stages + stage * kStage, *const tile_dout = tile_q + Pass::kSize;
    const float *const lse = statistics + stage * 2 * kPass, *const delta = lse + kPass;
    float p[1][kPass / 8][4], dp[1][kPass / 8][4], slope[kPass / 8][4];  // transposed: keys down, rows across
    rows_times_rows<Pass>(p, RowsInTile<Own>{tile_k, warp * 16}, tile_q);
#pragma unroll
    for (int j = 0; j < kPass / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++) {
        const int r = j * 8 + col_of(lane, e), key = j0 + warp * 16 + row_of(lane, e);
        const bool seen = r0 + r < a.rows() && a.sees((r0 + r) / a.group, key);
        const float score = a.score(p[0][j][e]);
        p[0][j][e] = seen ? __expf(score - lse[r]) : 0.0f;
        slope[j][e] = a.slope(score);
      }
    if constexpr (kValues) weights_times_rows<Pass>(dv, p, tile_dout);
    if constexpr (!kKeys) continue;
    rows_times_rows<Pass>(dp, RowsInTile<Own>{tile_v, warp * 16}, tile_dout);
#pragma unroll
    for (int j = 0; j < kPass / 8; j++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        dp[0][j][e] = p[0][j][e] * (dp[0][j][e] - delta[j * 8 + col_of(lane, e)]) * slope[j][e];  // dS
    weights_times_rows<Pass>(dk, dp, tile_q);
  }
  cp_async_wait<0>();
  const auto place = [&](act* to) {
    return [=, &a](int j) -> act* { return j0 + j < a.S ? to + a.key(sequence, head, j0 + j) : nullptr; };
  };
  if constexpr (kKeys) store_rows<kWidth>(dk, a.D, place(s.dk));
  if constexpr (kValues) store_rows<kWidth>(dv, a.D, place(s.dv));
}

}  // namespace

void CudaOps::run(const AttentionBackward& op) {
  const auto [dout, out, lse, q, k, v, dq, dk, dv, size] = op;
  if (size.D > kWidest)
    throw Error("BAD_SHAPE", "attention on CUDA takes heads of width " + std::to_string(kWidest) + " at most, not " +
                                 std::to_string(size.D));
  context_.scratch().reset();
  const Attend a = Attend::of(size, nullptr);
  const int64_t sequences = size.M * size.B, rows = sequences * size.T * size.H;
  if (rows == 0) return;
  if (attended_backward_on_hopper(context_, op)) return;
  float* const delta = context_.scratch().take<float>(rows);
  with_width(size.D, {dout, out}, [&](auto pack) {
    GPU_LAUNCH(context_, delta_kernel<pack>, dim3(ceil_div(rows, kRowsOfBlock)), dim3(256), 0, delta, dout, out, rows,
               a.T, a.H, a.D);
  });
  const Arguments s{dq, dk, dv, dout, q, k, v, lse, delta};
  with_head_width(size.D, [&](auto width) {
    using Tiles = Tiles<width>;
    const dim3 threads(Tiles::kThreads), keys(ceil_div(size.T, Tiles::kOwn), size.K, sequences);
    GPU_LAUNCH(context_, query_gradients_kernel<width>,
               dim3(ceil_div(size.T * a.group, Tiles::kOwn), size.K, sequences), threads, Tiles::kQueriesShared, s, a);
    if constexpr (width < kWidest) {
      GPU_LAUNCH(context_, (key_gradients_kernel<width, Of::Both>), keys, threads, Tiles::kKeysShared, s, a);
    } else {
      GPU_LAUNCH(context_, (key_gradients_kernel<width, Of::Keys>), keys, threads, Tiles::kKeysShared, s, a);
      GPU_LAUNCH(context_, (key_gradients_kernel<width, Of::Values>), keys, threads, Tiles::kKeysShared, s, a);
    }
  });
}

}  // namespace bts::cuda::BTS_PRECISION
