// Backward of attention on Hopper, for heads of 64 and 128: the two kernels of attention_backward.cu. A persistent grid
// walks tiles of 128 rows of dq, or of 128 keys; one thread of a block brings what passes by, and two warpgroups own 64 of
// the 128 each.
//   rows:  S = Q K^T      dP = dO V^T                         dq += dS K
//   keys:  S^T = K Q^T    dP^T = V dO^T    dv += P^T dO       dk += dS^T Q
// Neither P nor dS is written anywhere: sums of one product, rounded, are the left operand of the next from registers. The
// scores of a step are asked for before the last product of the step before it, which is computed while they are weighed.
#pragma once

#include "attention_tiles.cuh"
#include "gemm/gemm.cuh"
#include "gemm/ring.cuh"
#include "transpose.cuh"

namespace bts::cuda {

#if defined(BTS_HOPPER)

constexpr int kBoxRows = 64;  // of every copy, and of what one warpgroup owns
constexpr int kOwnRows = 2 * kBoxRows;
constexpr float kLog2e = 1.44269504f;

// What rows of queries bring along: lse in base 2, and delta. [M*B, H, T in boxes, of whole tiles]; zeros behind the last row,
// as in its q and dout, so that what it adds is zero.
struct RowStatistics {
  float lse[kBoxRows], delta[kBoxRows];
};
__host__ __device__ constexpr int statistics_of(int T) { return ceil_div(T, kOwnRows) * (kOwnRows / kBoxRows); }

struct HopperBackward {
  TensorMap q, dout, k, v;  // [M*B, tokens, heads, D], in boxes of kBoxRows tokens of a head
  const RowStatistics* statistics;
  bf16 *dq, *dk, *dv;
  int sequences;      // M*B
  float factor, cap;  // scores in base 2 are factor product, or cap tanh(factor product)
};

// Two warpgroups multiply; of a third one thread loads.
constexpr int kMultiplying = 256, kMultiplyingWarps = kMultiplying / 32, kBackwardThreads = kMultiplying + 128;
constexpr int kOwningRegisters = 240, kFetchingRegisters = 24;

// What is the same in all lanes of a warp: where the compiler knows that, descriptors stay in uniform registers.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(kAllLanes, x, 0); }

// --- copies and products

// Tokens t0.. of one head.
template <class Tile>
__device__ __forceinline__ void load_tokens(bf16* tile, const TensorMap& map, int sequence, int head, int t0,
                                            Barrier* arrived) {
#pragma unroll
  for (int col = 0; col < Tile::kCols; col += kBoxCols)
#pragma unroll
    for (int row = 0; row < Tile::kRows; row += kBoxRows)
      copy_box(tile + Tile::at(row, col), map, col, head, t0 + row, sequence, arrived);
}

// sums [64, rows of Right] = 64 rows of Left from `row` on times those of Right, over the whole width.
template <class Left, class Right, int kSums>
__device__ __forceinline__ void rows_times_rows(float (&sums)[kSums], const bf16* left, int row, const bf16* right) {
  static_assert(Right::kRows == 2 * kSums && Left::kCols == Right::kCols);
  const uint64_t a = descriptor<Depth::Inner>(left + Left::at(row, 0)), b = descriptor<Depth::Inner>(right);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < Left::kCols; k += kStep)
    wgmma<Depth::Inner, Depth::Inner>(sums, a + Left::at(0, k) * sizeof(bf16) / 16,
                                      b + Right::at(0, k) * sizeof(bf16) / 16, k > 0);
  wgmma_commit();
}

// sums [64, width] += weights [64, rows of Tile] times the rows of a tile.
template <class Tile, int kSums, int kSteps>
__device__ __forceinline__ void weights_times_rows(float (&sums)[kSums], const uint32_t (&weights)[kSteps][4],
                                                   const bf16* tile) {
  static_assert(Tile::kRows == kSteps * kStep && Tile::kCols == 2 * kSums);
  const uint64_t b = descriptor<Depth::Outer, Tile::kRows * 128>(tile);
  wgmma_fence();
#pragma unroll
  for (int k = 0; k < kSteps; k++) wgmma<Depth::Outer>(sums, weights[k], b + k * kDescriptorStep<Depth::Outer>);
  wgmma_commit();
}

// Hides the scores of what is not seen: of a lane's rows, 0 and 8 behind, those outside of columns least .. most.
template <int n>
__device__ __forceinline__ void hide(float (&scores)[n], const int (&least)[2], const int (&most)[2]) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int col = col_of(threadIdx.x % 32, 0), from = least[half] - col, to = most[half] - col;
#pragma unroll
    for (int i = half * 2; i < n; i += 4)
#pragma unroll
      for (int c = 0; c < 2; c++)
        if (i / 4 * 8 + c < from || i / 4 * 8 + c > to) scores[i + c] = -INFINITY;
  }
}

// exp(score - lse) of a product; what stays in its place makes dS / scale of dP - delta.
template <bool kCapped>
__device__ __forceinline__ float weigh(float& product, float lse, const HopperBackward& s) {
  if constexpr (kCapped) {
    const float share = fast_tanh(product * s.factor);  // of the cap
    const float weight = product == -INFINITY ? 0.0f : fast_exp2(fmaf(share, s.cap, -lse));
    product = weight * (1 - share * share);
    return weight;
  } else {
    return product = fast_exp2(fmaf(product, s.factor, -lse));
  }
}

// --- tiles of a block

// The tiles of a persistent grid, there and back again: who has the longest of one round gets the shortest of the next.
class Rounds {
 public:
  __device__ __forceinline__ explicit Rounds(int count) : count_(count) { find(); }
  __device__ __forceinline__ bool more() const { return tile_ < count_; }
  __device__ __forceinline__ int tile() const { return tile_; }
  __device__ __forceinline__ void next() {
    round_++;
    find();
  }

 private:
  __device__ __forceinline__ void find() {
    tile_ = round_ * gridDim.x + (round_ % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
  }
  int count_, round_ = 0, tile_;
};

// Writes a warpgroup's sums, times `factor`: of a lane's two rows that `below` its first, 0 or 8, to place(below), null where
// there is none. The lanes of a quad trade their pairs of columns for pieces of 16 bytes.
template <int kSums, class Place>
__device__ __forceinline__ void store_rows(const float (&sums)[kSums], float factor, const Place& place) {
#pragma unroll
  for (int half = 0; half < 2; half++) {
    bf16* const row = place(half * 8);
#pragma unroll
    for (int i = half * 2; i < kSums; i += 16) {
      uint32_t pairs[4];
#pragma unroll
      for (int j = 0; j < 4; j++) pairs[j] = pack_bf16(sums[i + j * 4] * factor, sums[i + j * 4 + 1] * factor);
      transpose(pairs);
      if (row)
        *reinterpret_cast<uint4*>(row + i / 16 * 32 + threadIdx.x % 4 * 8) =
            make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
    }
  }
}

// --- rows of dq, which pass over the keys that they see

template <int kWidth>
struct HopperQueries {
  using Own = Swizzled<bf16, kOwnRows, kWidth>;
  using Pass = Swizzled<bf16, 128, kWidth>;
  static constexpr int kKeys = 3, kValues = 2;  // tiles on their way; keys are needed a product longer
  static constexpr size_t kTiles = (2 * Own::kSize + (kKeys + kValues) * Pass::kSize) * sizeof(bf16);
  static constexpr size_t kSharedBytes = kTiles + Places<1>::kBytes + Places<kKeys>::kBytes + Places<kValues>::kBytes;

  static int64_t tiles(const Attend& a, int sequences) { return int64_t{ceil_div(a.T, kOwnRows)} * a.H * sequences; }
  // Those with most keys first.
  struct Tile {
    int t0, head, sequence, first, end;  // first and end of the steps over keys
  };
  static __device__ __forceinline__ Tile tile(int number, const Attend& a, int sequences) {
    const int heads = sequences * a.H, t0 = (ceil_div(a.T, kOwnRows) - 1 - number / heads) * kOwnRows;
    return {t0, number % heads % a.H, number % heads / a.H, a.first_key(t0) / Pass::kRows,
            ceil_div(min(t0 + kOwnRows, a.T), Pass::kRows)};
  }
};

template <int kWidth, bool kCapped>
__global__ void __launch_bounds__(kBackwardThreads, 1) hopper_query_gradients_kernel(
    const __grid_constant__ HopperBackward s, Attend a, int tiles) {
#if defined(BTS_HOPPER_CODE)
  DYNAMIC_SHARED(shared);
  using Work = HopperQueries<kWidth>;
  using Own = typename Work::Own;
  using Pass = typename Work::Pass;
  bf16* const tile_q = reinterpret_cast<bf16*>(shared);
  bf16 *const tile_dout = tile_q + Own::kSize, *const tiles_k = tile_dout + Own::kSize;
  bf16* const tiles_v = tiles_k + Work::kKeys * Pass::kSize;
  unsigned char* const barriers = shared + Work::kTiles;
  Places<1> own(barriers, kMultiplyingWarps);
  Places<Work::kKeys> keys(barriers + own.kBytes, kMultiplyingWarps);
  Places<Work::kValues> values(barriers + own.kBytes + keys.kBytes, kMultiplyingWarps);
  __syncthreads();

  if (threadIdx.x >= kMultiplying) {
    keep_registers<kFetchingRegisters>();
    if (threadIdx.x != kMultiplying) return;
    for (Rounds rounds(tiles); rounds.more(); rounds.next()) {
      const auto [t0, head, sequence, first, end] = Work::tile(rounds.tile(), a, s.sequences);
#pragma unroll 1
      for (int step = first; step < end; step++) {
        const int shared_head = head / a.group, j0 = step * Pass::kRows;
        keys.fill_next(Pass::kSize * sizeof(bf16), [&](int place, Barrier* arrived) {
          load_tokens<Pass>(tiles_k + place * Pass::kSize, s.k, sequence, shared_head, j0, arrived);
        });
        if (step == first)  // the tile before may still be read
          own.fill_next(2 * Own::kSize * sizeof(bf16), [&](int, Barrier* arrived) {
            load_tokens<Own>(tile_q, s.q, sequence, head, t0, arrived);
            load_tokens<Own>(tile_dout, s.dout, sequence, head, t0, arrived);
          });
        values.fill_next(Pass::kSize * sizeof(bf16), [&](int place, Barrier* arrived) {
          load_tokens<Pass>(tiles_v + place * Pass::kSize, s.v, sequence, shared_head, j0, arrived);
        });
      }
    }
    return;
  }

  claim_registers<kOwningRegisters>();
  const int first_row = uniform(threadIdx.x / 128) * kBoxRows;
  const int lane = threadIdx.x % 32;
  const int row = threadIdx.x / 32 % 4 * 16 + row_of(lane, 0);  // and 8 behind
  for (Rounds rounds(tiles); rounds.more(); rounds.next()) {
    const auto [t0, head, sequence, first, end] = Work::tile(rounds.tile(), a, s.sequences);
    const int t = t0 + first_row, position = t + row;
    const RowStatistics& statistics =
        s.statistics[(int64_t{sequence} * a.H + head) * statistics_of(a.T) + t / kBoxRows];
    const float lse[2] = {statistics.lse[row], statistics.lse[row + 8]};
    const float delta[2] = {statistics.delta[row], statistics.delta[row + 8]};

    float dq[kWidth / 2] = {};
    uint32_t ds[Pass::kRows / kStep][4];
    // Asks for the scores of the next step, and returns the place of its keys.
    const auto ask_for_scores = [&](auto& scores) {
      const int key = uniform(keys.take_next());
      rows_times_rows<Own, Pass>(scores, tile_q, first_row, tiles_k + key * Pass::kSize);
      return key;
    };
    const auto weigh_step = [&](auto& scores, int j0) {
      // Most steps are seen whole by all rows.
      if (j0 + Pass::kRows - 1 > t || j0 < a.first_key(t + kBoxRows - 1))
        hide(scores, {a.first_key(position) - j0, a.first_key(position + 8) - j0}, {position - j0, position + 8 - j0});
#pragma unroll
      for (int i = 0; i < Pass::kRows / 2; i++) weigh<kCapped>(scores[i], lse[i % 4 / 2], s);
      settle(scores);
    };
    const auto round_gradients = [&](const auto& weights, int value) {
      float dp[Pass::kRows / 2] = {};
      rows_times_rows<Own, Pass>(dp, tile_dout, first_row, tiles_v + value * Pass::kSize);
      wgmma_wait<0>();
      settle(dp);
      values.hand_back(value);
#pragma unroll
      for (int i = 0; i < Pass::kRows / 2; i += 2) {
        const float below = delta[i % 4 / 2];
        ds[i / 8][i % 8 / 2] = pack_bf16(weights[i] * (dp[i] - below), weights[i + 1] * (dp[i + 1] - below));
      }
    };

    own.take_next();
    int key;
    {
      float weights[Pass::kRows / 2] = {};
      key = ask_for_scores(weights);
      wgmma_wait<0>();
      settle(weights);
      weigh_step(weights, first * Pass::kRows);
      round_gradients(weights, uniform(values.take_next()));
    }
    for (int step = first + 1; step < end; step++) {
      float weights[Pass::kRows / 2] = {};
      const int next = ask_for_scores(weights);
      weights_times_rows<Pass>(dq, ds, tiles_k + key * Pass::kSize);
      wgmma_wait<1>();
      settle(weights);
      weigh_step(weights, step * Pass::kRows);
      const int value = uniform(values.take_next());
      wgmma_wait<0>();
      settle(dq);
      keys.hand_back(key);
      key = next;
      round_gradients(weights, value);
    }
    own.hand_back(0);
    weights_times_rows<Pass>(dq, ds, tiles_k + key * Pass::kSize);
    wgmma_wait<0>();
    settle(dq);
    keys.hand_back(key);
    store_rows(dq, a.scale, [&](int below) -> bf16* {
      const int to = position + below;
      return to < a.T ? s.dq + ((int64_t{sequence} * a.T + to) * a.H + head) * kWidth : nullptr;
    });
  }
#endif
}

// --- keys, which the rows that see them pass by

template <int kWidth>
struct HopperKeys {
  using Own = Swizzled<bf16, kOwnRows, kWidth>;
  using Pass = Swizzled<bf16, kBoxRows, kWidth>;
  static constexpr int kBoxes = kWidth == 64 ? 6 : 4;  // of q on their way, and of dout
  static constexpr size_t kTiles = (2 * Own::kSize + 2 * kBoxes * Pass::kSize) * sizeof(bf16);
  static constexpr size_t kSharedBytes =
      kTiles + kBoxes * sizeof(RowStatistics) + Places<1>::kBytes + 2 * Places<kBoxes>::kBytes;

  static int64_t tiles(const Attend& a, int sequences) { return int64_t{ceil_div(a.S, kOwnRows)} * a.K * sequences; }
  // Those that most rows see first.
  struct Tile {
    int j0, head, sequence;
  };
  static __device__ __forceinline__ Tile tile(int number, const Attend& a, int sequences) {
    const int heads = sequences * a.K;
    return {number / heads * kOwnRows, number % heads % a.K, number % heads / a.K};
  }
  // The boxes of rows that see some of `count` keys. The last pass first: then all blocks of a head begin with the same.
  struct Boxes {
    int first, end;
  };
  static __device__ __forceinline__ Boxes seeing(int j0, int count, const Attend& a) {
    const int end = a.window > 0 ? static_cast<int>(min(int64_t{a.T}, int64_t{j0} + count - 1 + a.window)) : a.T;
    return {j0 / kBoxRows, max(ceil_div(end, kBoxRows), j0 / kBoxRows)};
  }
};

template <int kWidth, bool kCapped>
__global__ void __launch_bounds__(kBackwardThreads, 1) hopper_key_gradients_kernel(
    const __grid_constant__ HopperBackward s, Attend a, int tiles) {
#if defined(BTS_HOPPER_CODE)
  DYNAMIC_SHARED(shared);
  using Work = HopperKeys<kWidth>;
  using Own = typename Work::Own;
  using Pass = typename Work::Pass;
  bf16* const tile_k = reinterpret_cast<bf16*>(shared);
  bf16 *const tile_v = tile_k + Own::kSize, *const tiles_q = tile_v + Own::kSize;
  bf16* const tiles_dout = tiles_q + Work::kBoxes * Pass::kSize;
  RowStatistics* const statistics = reinterpret_cast<RowStatistics*>(shared + Work::kTiles);
  unsigned char* const barriers = reinterpret_cast<unsigned char*>(statistics + Work::kBoxes);
  Places<1> own(barriers, kMultiplyingWarps);
  Places<Work::kBoxes> queries(barriers + own.kBytes, kMultiplyingWarps);
  Places<Work::kBoxes> douts(barriers + own.kBytes + queries.kBytes, kMultiplyingWarps);
  __syncthreads();

  if (threadIdx.x >= kMultiplying) {
    keep_registers<kFetchingRegisters>();
    if (threadIdx.x != kMultiplying) return;
    for (Rounds rounds(tiles); rounds.more(); rounds.next()) {
      const auto [j0, head, sequence] = Work::tile(rounds.tile(), a, s.sequences);
      const auto boxes = Work::seeing(j0, kOwnRows, a);
      bool first = true;
      for (int box = boxes.end - 1; box >= boxes.first; box--)
#pragma unroll 1
        for (int h = head * a.group; h < (head + 1) * a.group; h++) {
          const RowStatistics& from = s.statistics[(int64_t{sequence} * a.H + h) * statistics_of(a.T) + box];
          queries.fill_next(Pass::kSize * sizeof(bf16) + sizeof from.lse, [&](int place, Barrier* arrived) {
            load_tokens<Pass>(tiles_q + place * Pass::kSize, s.q, sequence, h, box * kBoxRows, arrived);
            copy_bytes(statistics[place].lse, from.lse, sizeof from.lse, arrived);
          });
          if (first)  // the tile before may still be read
            own.fill_next(2 * Own::kSize * sizeof(bf16), [&](int, Barrier* arrived) {
              load_tokens<Own>(tile_k, s.k, sequence, head, j0, arrived);
              load_tokens<Own>(tile_v, s.v, sequence, head, j0, arrived);
            });
          first = false;
          douts.fill_next(Pass::kSize * sizeof(bf16) + sizeof from.delta, [&](int place, Barrier* arrived) {
            load_tokens<Pass>(tiles_dout + place * Pass::kSize, s.dout, sequence, h, box * kBoxRows, arrived);
            copy_bytes(statistics[place].delta, from.delta, sizeof from.delta, arrived);
          });
        }
    }
    return;
  }

  claim_registers<kOwningRegisters>();
  const int first_row = uniform(threadIdx.x / 128) * kBoxRows;
  const int lane = threadIdx.x % 32;
  const int row = threadIdx.x / 32 % 4 * 16 + row_of(lane, 0), col = col_of(lane, 0);  // and 8 rows behind
  // Steps that are only the other warpgroup's.
  const auto leave_out = [&](int steps) {
#pragma unroll 1
    for (; steps > 0; steps--) {
      queries.hand_back(queries.take_next());
      douts.hand_back(douts.take_next());
    }
  };
  for (Rounds rounds(tiles); rounds.more(); rounds.next()) {
    const auto [j0, head, sequence] = Work::tile(rounds.tile(), a, s.sequences);
    const int key = j0 + first_row;
    const auto boxes = Work::seeing(j0, kOwnRows, a), mine = Work::seeing(key, kBoxRows, a);
    const int steps = (mine.end - mine.first) * a.group;

    // Transposed: keys down, rows of queries across.
    float dk[kWidth / 2] = {}, dv[kWidth / 2] = {};
    uint32_t ds[kBoxRows / kStep][4];
    // Asks for the scores of the next step, and returns the place of its queries.
    const auto ask_for_scores = [&](auto& scores) {
      const int query = uniform(queries.take_next());
      rows_times_rows<Own, Pass>(scores, tile_k, first_row, tiles_q + query * Pass::kSize);
      return query;
    };
    const auto weigh_step = [&](auto& scores, auto& rounded, int query, int t0) {
      // Most steps are seen whole by all rows.
      if (key + kBoxRows - 1 > t0 || key < a.first_key(t0 + kBoxRows - 1)) {
        const int first = key + row - t0, count = a.window > 0 ? min(a.window, a.T) : a.T;
        hide(scores, {first, first + 8}, {first + count - 1, first + 8 + count - 1});
      }
      const float* const lse = statistics[query].lse + col;
#pragma unroll
      for (int i = 0; i < kBoxRows / 2; i += 4) {
        const float2 of = *reinterpret_cast<const float2*>(lse + i * 2);
#pragma unroll
        for (int half = i; half < i + 4; half += 2) {
          const float first = weigh<kCapped>(scores[half], of.x, s);
          rounded[i / 8][half % 8 / 2] = pack_bf16(first, weigh<kCapped>(scores[half + 1], of.y, s));
        }
      }
      settle(scores);
      settle(rounded);
    };
    // dS is rounded while dv grows.
    const auto round_gradients = [&](const auto& weights, const auto& rounded, int dout) {
      const bf16* const tile_dout = tiles_dout + dout * Pass::kSize;
      float dp[kBoxRows / 2] = {};
      rows_times_rows<Own, Pass>(dp, tile_v, first_row, tile_dout);
      weights_times_rows<Pass>(dv, rounded, tile_dout);
      wgmma_wait<1>();
      settle(dp);
      const float* const delta = statistics[dout].delta + col;
#pragma unroll
      for (int i = 0; i < kBoxRows / 2; i += 4) {
        const float2 of = *reinterpret_cast<const float2*>(delta + i * 2);
#pragma unroll
        for (int half = i; half < i + 4; half += 2)
          ds[i / 8][half % 8 / 2] =
              pack_bf16(weights[half] * (dp[half] - of.x), weights[half + 1] * (dp[half + 1] - of.y));
      }
      settle(ds);
      wgmma_wait<0>();
      settle(dv);
      douts.hand_back(dout);
    };

    own.take_next();
    leave_out((boxes.end - mine.end) * a.group);
    if (steps > 0) {
      int t0 = (mine.end - 1) * kBoxRows, query;
      {
        float weights[kBoxRows / 2] = {};
        uint32_t rounded[kBoxRows / kStep][4];
        query = ask_for_scores(weights);
        wgmma_wait<0>();
        settle(weights);
        weigh_step(weights, rounded, query, t0);
        round_gradients(weights, rounded, uniform(douts.take_next()));
      }
      for (int step = 1, h = 1; step < steps; step++, h++) {
        if (h == a.group) h = 0, t0 -= kBoxRows;
        float weights[kBoxRows / 2] = {};
        uint32_t rounded[kBoxRows / kStep][4];
        const int next = ask_for_scores(weights);
        weights_times_rows<Pass>(dk, ds, tiles_q + query * Pass::kSize);
        wgmma_wait<1>();
        settle(weights);
        weigh_step(weights, rounded, next, t0);
        const int dout = uniform(douts.take_next());
        wgmma_wait<0>();
        settle(dk);
        queries.hand_back(query);
        query = next;
        round_gradients(weights, rounded, dout);
      }
      weights_times_rows<Pass>(dk, ds, tiles_q + query * Pass::kSize);
      wgmma_wait<0>();
      settle(dk);
      queries.hand_back(query);
    }
    own.hand_back(0);
    leave_out((mine.first - boxes.first) * a.group);
    const auto place_in = [&](bf16* gradients) {
      return [=, &a](int below) -> bf16* {
        const int to = key + row + below;
        return to < a.S ? gradients + ((int64_t{sequence} * a.S + to) * a.K + head) * kWidth : nullptr;
      };
    };
    store_rows(dk, a.scale, place_in(s.dk));
    store_rows(dv, 1, place_in(s.dv));
  }
#endif
}

// --- what comes first, and the launches

// Of rows of [M*B, T, H], T in whole tiles.
template <int kWidth>
__global__ void __launch_bounds__(256) row_statistics_kernel(RowStatistics* statistics, const bf16* dout,
                                                             const bf16* out, const float* lse, int64_t rows,
                                                             Attend a) {
  const int64_t row = int64_t{blockIdx.x} * kRowsOfBlock + threadIdx.x / kLanesOfRow;
  const int boxes = statistics_of(a.T), h = row % a.H, t = row / a.H % (boxes * kBoxRows);
  const int64_t sequence = row / a.H / (boxes * kBoxRows);
  const bool exists = row < rows && t < a.T;
  const float delta = delta_of<kWide>(dout, out, exists ? (sequence * a.T + t) * a.H + h : 0, kWidth);
  if (row >= rows || threadIdx.x % kLanesOfRow != 0) return;
  const int64_t head = sequence * a.H + h;
  RowStatistics& to = statistics[head * boxes + t / kBoxRows];
  to.lse[t % kBoxRows] = exists ? lse[head * a.T + t] * kLog2e : 0.0f;
  to.delta[t % kBoxRows] = exists ? delta : 0.0f;
}

template <int kWidth, bool kCapped>
void launch_hopper_gradients(const Context& context, const HopperBackward& s, const Attend& a) {
  const int64_t rows = HopperQueries<kWidth>::tiles(a, s.sequences), keys = HopperKeys<kWidth>::tiles(a, s.sequences);
  GPU_LAUNCH(context, (hopper_query_gradients_kernel<kWidth, kCapped>), persistent(context, rows),
             dim3(kBackwardThreads), HopperQueries<kWidth>::kSharedBytes, s, a, static_cast<int>(rows));
  GPU_LAUNCH(context, (hopper_key_gradients_kernel<kWidth, kCapped>), persistent(context, keys), dim3(kBackwardThreads),
             HopperKeys<kWidth>::kSharedBytes, s, a, static_cast<int>(keys));
}

template <int kWidth>
void launch_hopper_backward(Context& context, const AttentionBackward<bf16>& op) {
  const auto& size = op.size;
  const Attend a = Attend::of(size, nullptr);
  const int64_t sequences = size.M * size.B, boxes = sequences * size.H * statistics_of(a.T), rows = boxes * kBoxRows;
  context.scratch().reset();
  RowStatistics* const statistics = context.scratch().take<RowStatistics>(boxes);
  GPU_LAUNCH(context, row_statistics_kernel<kWidth>, dim3(ceil_div(rows, kRowsOfBlock)), dim3(256), 0, statistics,
             op.dout, op.out, op.lse, rows, a);
  const auto map = [&](const bf16* data, int64_t tokens, int64_t heads) {
    return tensor_map(data, {{kWidth, 1, kBoxCols},
                             {heads, kWidth, 1},
                             {tokens, heads * kWidth, kBoxRows},
                             {sequences, tokens * heads * kWidth, 1}});
  };
  const HopperBackward s{map(op.q, size.T, size.H),
                         map(op.dout, size.T, size.H),
                         map(op.k, size.S, size.K),
                         map(op.v, size.S, size.K),
                         statistics,
                         op.dq,
                         op.dk,
                         op.dv,
                         static_cast<int>(sequences),
                         size.softcap > 0 ? size.scale / size.softcap : size.scale * kLog2e,
                         size.softcap * kLog2e};
  if (size.softcap > 0) launch_hopper_gradients<kWidth, true>(context, s, a);
  else launch_hopper_gradients<kWidth, false>(context, s, a);
}

#endif

// Takes the call on if this is a Hopper and its heads have a width that it knows.
template <class T>
bool attended_backward_on_hopper([[maybe_unused]] Context& context, [[maybe_unused]] const AttentionBackward<T>& op) {
#if defined(BTS_HOPPER)
  if constexpr (std::is_same_v<T, bf16>) {
    if (!context.hopper()) return false;
    const bf16* const arrays[] = {op.q, op.k, op.v, op.dout, op.out, op.dq, op.dk, op.dv};
    for (const bf16* array : arrays)
      if (reinterpret_cast<uintptr_t>(array) % 16 != 0) return false;
    if (op.size.D == 64) return launch_hopper_backward<64>(context, op), true;
    if (op.size.D == 128) return launch_hopper_backward<128>(context, op), true;
  }
#endif
  return false;
}

}  // namespace bts::cuda
