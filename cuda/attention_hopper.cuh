// Attention forward on Hopper, in the shape of FlashAttention-3 (Shah et al., 2024): one thread brings queries, keys and
// values as boxes; warpgroups with 64 rows of queries each multiply them from shared memory and keep scores, weights and
// sums in registers. A warpgroup asks for the scores of the next step, be it of the next tile, before it has the sums of
// this one, and the warpgroups take turns to ask, so that the softmax of one runs under the products of all.
#pragma once

#include <climits>

#include "attention_tiles.cuh"
#include "gemm/gemm.cuh"
#include "gemm/ring.cuh"
#include "reduce.cuh"
#include "transpose.cuh"

namespace bts::cuda {

#if defined(BTS_HOPPER)

// Tiles of rows of one head: queries that a block keeps, 64 for each warpgroup, and the keys, or values, of one step.
template <int Width, int Warpgroups>
struct HopperAttention {
  static constexpr int kWidth = Width, kKeys = 128, kPlaces = 5, kQueryPlaces = 2;
  static constexpr int kWarpgroups = Warpgroups, kRows = kWarpgroups * 64;
  using Queries = Swizzled<bf16, kRows, Width>;
  using Keys = Swizzled<bf16, kKeys, Width>;
  static constexpr int kMultiplying = kWarpgroups * 128, kThreads = kMultiplying + 128;  // and a warpgroup that loads
  // Registers of the threads that load and of those that multiply.
  static constexpr int kToLoad = kWarpgroups == 3 ? 32 : kLoadingRegisters;
  static constexpr int kToMultiply = kWarpgroups == 3 ? 160 : kMultiplyingRegisters;
  static constexpr size_t kTileBytes = (kQueryPlaces * Queries::kSize + kPlaces * Keys::kSize) * sizeof(bf16);
  static constexpr size_t kBytes = kTileBytes + Places<kQueryPlaces>::kBytes + Places<kPlaces>::kBytes;
};

struct AttentionMaps {
  TensorMap q, k, v;
};

// A row of a warpgroup's product is spread over the four lanes of a quad, and a lane has two of them: 0 and 1, elements 0,
// 1 and 2, 3 of every tile of sums.
struct RunningSoftmax {
  float top[2] = {-INFINITY, -INFINITY}, total[2] = {};  // the largest score so far; of the weights of this lane

  // Scores become weights 2^(factor (score - top)); `shrink` is what earlier weights become less by.
  template <int n>
  __device__ __forceinline__ void weigh(float (&scores)[n], float factor, float (&shrink)[2]) {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      float highest = top[row];
#pragma unroll
      for (int i = 0; i < n; i += 4) highest = fmaxf(highest, fmaxf(scores[i + row * 2], scores[i + row * 2 + 1]));
      highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 1));
      highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 2));
      const float shift = highest == -INFINITY ? 0.0f : highest * factor;  // no key yet: all weights are 2^-infinity
      shrink[row] = fast_exp2(top[row] * factor - shift);
      top[row] = highest;
      total[row] *= shrink[row];
#pragma unroll
      for (int i = 0; i < n; i += 4)
#pragma unroll
        for (int c = row * 2; c < row * 2 + 2; c++)
          total[row] += scores[i + c] = fast_exp2(fmaf(scores[i + c], factor, -shift));
    }
  }

  // The totals of whole rows.
  __device__ __forceinline__ void join() {
#pragma unroll
    for (int row = 0; row < 2; row++) {
      total[row] += __shfl_xor_sync(kAllLanes, total[row], 1);
      total[row] += __shfl_xor_sync(kAllLanes, total[row], 2);
    }
  }
};

// The way of one block of a persistent grid through its tiles of queries, and of each through the keys that it sees, in
// steps, the last ones first. Tiles with most keys come first; blocks get them in one order and then in the other, and so
// nearly the same number of keys.
template <class Tiles>
class AttentionWalk {
 public:
  int sequence, head, row;  // of the tile's first query
  int start;                // the position of the sequence's first query
  int key;                  // the first one of the step

  __device__ __forceinline__ AttentionWalk(const Attend& a, int sequences) : a_(&a), sequences_(sequences) {
    begin_tile();
  }
  __device__ __forceinline__ bool more() const { return row >= 0; }
  // Whether this step is a tile's first.
  __device__ __forceinline__ bool begins() const { return key == last_; }
  __device__ __forceinline__ void next() {
    if (key > first_) {
      key -= Tiles::kKeys;
    } else {
      round_++;
      begin_tile();
    }
  }

 private:
  __device__ __forceinline__ void begin_tile() {
    const int block = round_ % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x, heads = a_->H * sequences_;
    const int tile = round_ * gridDim.x + block, behind = tile / heads, of = tile - behind * heads;
    row = (ceil_div(a_->T, Tiles::kRows) - 1 - behind) * Tiles::kRows;
    if (!more()) return;
    sequence = of / a_->H;
    head = of - sequence * a_->H;
    start = a_->start(sequence);
    const int last_row = min(row + Tiles::kRows, a_->T) - 1;
    first_ = a_->first_key(start + row) / Tiles::kKeys * Tiles::kKeys;
    key = last_ = (start + last_row) / Tiles::kKeys * Tiles::kKeys;
  }

  const Attend* a_;
  int sequences_, round_ = 0, first_, last_;  // the keys at which the tile's first and last step begin
};

template <int kWidth, int kWarpgroups>
__global__ void __launch_bounds__((HopperAttention<kWidth, kWarpgroups>::kThreads), 1) hopper_attention_kernel(
    bf16* out, float* lse, const __grid_constant__ AttentionMaps maps, Attend a, PageTable pages, int sequences) {
#if defined(BTS_HOPPER_CODE)
  DYNAMIC_SHARED(shared);
  using Tiles = HopperAttention<kWidth, kWarpgroups>;
  using Queries = typename Tiles::Queries;
  using Keys = typename Tiles::Keys;
  constexpr int kKeys = Tiles::kKeys;
  bf16 *const queries = reinterpret_cast<bf16*>(shared), *const keys = queries + Tiles::kQueryPlaces * Queries::kSize;
  Places<Tiles::kQueryPlaces> query_places(shared + Tiles::kTileBytes, 4 * kWarpgroups);
  Places<Tiles::kPlaces> places(shared + Tiles::kTileBytes + decltype(query_places)::kBytes, 4 * kWarpgroups);
  __syncthreads();
  using Walk = AttentionWalk<Tiles>;
  Walk step(a, sequences);

  if (threadIdx.x >= Tiles::kMultiplying) {
    keep_registers<Tiles::kToLoad>();
    if (threadIdx.x != Tiles::kMultiplying) return;
    const auto load = [&](auto rows, bf16* to, const TensorMap& map, int head, int row, int sequence,
                          Barrier* arrived) {
#pragma unroll
      for (int col = 0; col < kWidth; col += kBoxCols)
        copy_box(to + rows.at(0, col), map, col, head, row, sequence, arrived);
    };
    const auto load_keys = [&](const TensorMap& map, const Walk& of) {
      places.fill_next(sizeof(bf16) * Keys::kSize, [&](int place, Barrier* arrived) {
        bf16* const to = keys + place * Keys::kSize;
        if (!pages.table) return load(Keys(), to, map, of.head / a.group, of.key, of.sequence, arrived);
#pragma unroll
        for (int row = 0; row < kKeys; row += kPageTokens)
          load(Keys(), to + Keys::at(row, 0), map, of.head / a.group, 0, pages.page(of.sequence, of.key + row),
               arrived);
      });
    };
    const auto load_queries = [&](const Walk& of) {
      query_places.fill_next(sizeof(bf16) * Queries::kSize, [&](int place, Barrier* arrived) {
        load(Queries(), queries + place * Queries::kSize, maps.q, of.head, of.row, of.sequence, arrived);
      });
    };
    // The values of a step are multiplied after the keys of the next one.
    load_keys(maps.k, step);
    load_queries(step);
#pragma unroll 1
    while (step.more()) {
      const Walk before = step;
      step.next();
      if (step.more()) load_keys(maps.k, step);
      if (step.more() && step.begins()) load_queries(step);
      load_keys(maps.v, before);
    }
    return;
  }

  claim_registers<Tiles::kToMultiply>();
  const int group = __shfl_sync(kAllLanes, threadIdx.x / 128, 0), lane = threadIdx.x % 32;  // known to be uniform
  const int row_of_thread = group * 64 + threadIdx.x % 128 / 32 * 16 + row_of(lane, 0);     // and that 8 further
  const auto take_turn = [&] { named_barrier_wait(1 + group, 2 * 128); };
  const auto pass_turn = [&] { named_barrier_arrive(1 + (group + 1) % kWarpgroups, 2 * 128); };
  if (group == kWarpgroups - 1) pass_turn();

  const float factor = a.scale * 1.44269504f;  // of powers of two
  float scores[kKeys / 2], d[kWidth / 2] = {}, shrink[2];
  uint32_t weights[kKeys / kStep][4];
  RunningSoftmax softmax;

  const auto ask_for_scores = [&](int query, int key) {
    const uint64_t queries_at = descriptor<Depth::Inner>(queries + query * Queries::kSize + Queries::at(group * 64, 0));
    const uint64_t keys_at = descriptor<Depth::Inner>(keys + key * Keys::kSize);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kWidth; k += kStep)
      wgmma<Depth::Inner, Depth::Inner>(scores, queries_at + Queries::at(0, k) * sizeof(bf16) / 16,
                                        keys_at + Keys::at(0, k) * sizeof(bf16) / 16, k > 0);
    wgmma_commit();
  };
  const auto ask_for_sums = [&](int value) {
    const uint64_t values_at = descriptor<Depth::Outer, kKeys * 128>(keys + value * Keys::kSize);
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < kKeys / kStep; k++)
      wgmma<Depth::Outer>(d, weights[k], values_at + k * kDescriptorStep<Depth::Outer>);
    wgmma_commit();
  };
  // Slots of a cache that nobody has written may hold NaN, which a weight of zero would not silence. Without starts what
  // lies behind the end is zero.
  const auto take_values = [&](const Walk& of) {
    const int place = places.take_next();
    const int written = a.first_key(of.start), end = a.starts ? of.start + a.T : INT_MAX;
    if (of.key < written || of.key + kKeys > end) {
#pragma unroll 1
      for (int i = threadIdx.x; i < Keys::kSize / kVector<bf16>; i += Tiles::kMultiplying) {
        const int row = i % kKeys, col = i / kKeys * kVector<bf16>;
        if (of.key + row < written || of.key + row >= end)
          *reinterpret_cast<uint4*>(keys + place * Keys::kSize + Keys::at(row, col)) = make_uint4(0, 0, 0, 0);
      }
      show_to_copies();
      named_barrier_wait(1 + kWarpgroups, Tiles::kMultiplying);
    }
    return place;
  };
  const auto weigh = [&](const Walk& of) {
    // Most steps are seen whole by all rows of a warpgroup: nothing is to be asked there.
    const int first_position = of.start + of.row + group * 64, last_position = first_position + 63;
    if (of.key + kKeys - 1 > first_position || of.key < a.first_key(last_position)) {
#pragma unroll
      for (int row = 0; row < 2; row++) {
        const int position = of.start + of.row + row_of_thread + row * 8, to = of.key + col_of(lane, 0);
        const int most = position - to, least = a.window > 0 ? a.first_key(position) - to : INT_MIN;
#pragma unroll
        for (int i = row * 2; i < kKeys / 2; i += 4)
#pragma unroll
          for (int c = 0; c < 2; c++)
            if (i / 4 * 8 + c > most || i / 4 * 8 + c < least) scores[i + c] = -INFINITY;
      }
    }
    softmax.weigh(scores, factor, shrink);
  };
  const auto round_weights = [&] {
#pragma unroll
    for (int k = 0; k < kKeys / kStep; k++)
#pragma unroll
      for (int i = 0; i < 4; i++) weights[k][i] = pack_bf16(scores[k * 8 + i * 2], scores[k * 8 + i * 2 + 1]);
  };
  const auto finish = [&](const Walk& of, RunningSoftmax softmax) {
    softmax.join();
#pragma unroll
    for (int row = 0; row < 2; row++) {
      const int t = of.row + row_of_thread + row * 8;
      const float inverse = __fdividef(1, softmax.total[row]);
      bf16* const to = out + ((int64_t{of.sequence} * a.T + t) * a.H + of.head) * kWidth + lane % 4 * 8;
      // A quad trades its pairs of columns for pieces of 16 bytes.
#pragma unroll
      for (int i = 0; i < kWidth / 2; i += 16) {
        uint32_t pairs[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int at = i + j * 4 + row * 2;
          pairs[j] = pack_bf16(d[at] * inverse, d[at + 1] * inverse);
        }
        transpose(pairs);
        if (t < a.T) *reinterpret_cast<uint4*>(to + i * 2) = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      }
      if (lse && lane % 4 == 0 && t < a.T)
        lse[(int64_t{of.sequence} * a.H + of.head) * a.T + t] = softmax.top[row] * a.scale + logf(softmax.total[row]);
    }
  };

  int query = query_places.take_next(), key = places.take_next();
  ask_for_scores(query, key);
  wgmma_wait<0>();
  settle(scores);
  places.hand_back(key);
  weigh(step);
  round_weights();
  Walk before = step;
  for (step.next(); step.more(); before = step, step.next()) {
    const bool begins = step.begins();
    const RunningSoftmax ended = softmax;
    if (begins) {
      query_places.hand_back(query);
      query = query_places.take_next();
      softmax = RunningSoftmax();
    }
    key = places.take_next();
    const int value = take_values(before);
    take_turn();
    ask_for_scores(query, key);
    ask_for_sums(value);
    pass_turn();
    wgmma_wait<1>();
    settle(scores);
    weigh(step);
    // Totals are not negative: ptxas, which moves waits ahead of arithmetic, leaves the next one behind the softmax.
    places.hand_back(key, !(softmax.total[0] + softmax.total[1] < 0));
    wgmma_wait<0>();
    settle(scores);  // weights are in use until here
    settle(d);
    places.hand_back(value);
    if (begins) finish(before, ended);
    round_weights();
#pragma unroll
    for (int i = 0; i < kWidth / 2; i++) d[i] = begins ? 0 : d[i] * shrink[i % 4 / 2];
  }
  const int value = take_values(before);
  ask_for_sums(value);
  wgmma_wait<0>();
  settle(d);
  places.hand_back(value);
  finish(before, softmax);
  if (group == 0) take_turn();  // that the last one has passed on
#endif
}

constexpr int kLeastQueries = 64;  // of a sequence: fewer leave most of a tile empty
// From here on it does not matter that large tiles see keys which most of their queries do not.
constexpr int kManyQueries = 4096;

template <int kWidth, int kWarpgroups>
void launch_hopper_attention(const Context& context, const AttentionForward<bf16>& op) {
  using Tiles = HopperAttention<kWidth, kWarpgroups>;
  const auto& size = op.size;
  const Attend a = Attend::of(size, op.starts);
  const int64_t sequences = size.M * size.B, tiles = ceil_div(size.T, Tiles::kRows) * size.H * sequences;
  const int64_t keys = op.starts ? size.S : size.T;  // without starts nobody sees more
  const auto map = [&](const bf16* data, int64_t rows, int64_t of, int64_t heads, int box, int64_t count) {
    return tensor_map(
        data,
        {{kWidth, 1, kBoxCols}, {heads, kWidth, 1}, {rows, heads * kWidth, box}, {count, of * heads * kWidth, 1}});
  };
  const auto cache = [&](const bf16* data) {
    return op.pages.table ? map(data, kPageTokens, kPageTokens, size.K, kPageTokens, op.pages.Q)
                          : map(data, keys, size.S, size.K, Tiles::kKeys, sequences);
  };
  const AttentionMaps maps{map(op.q, size.T, size.T, size.H, Tiles::kRows, sequences), cache(op.k), cache(op.v)};
  GPU_LAUNCH(context, (hopper_attention_kernel<kWidth, kWarpgroups>), persistent(context, tiles), dim3(Tiles::kThreads),
             Tiles::kBytes, op.out, op.lse, maps, a, PageTable(op.pages), static_cast<int>(sequences));
}

#endif

// Takes the call on if this is a Hopper and there are enough queries of a width that it knows.
template <class T>
bool attended_on_hopper([[maybe_unused]] const Context& context, [[maybe_unused]] const AttentionForward<T>& op) {
#if defined(BTS_HOPPER)
  if constexpr (std::is_same_v<T, bf16>) {
    const auto& size = op.size;
    if (!context.hopper() || size.T < kLeastQueries || size.softcap > 0) return false;
    if (size.M * size.B * size.H == 0) return false;
    const auto aligned = [](const void* data) { return reinterpret_cast<uintptr_t>(data) % 16 == 0; };
    if (!aligned(op.q) || !aligned(op.k) || !aligned(op.v) || !aligned(op.out)) return false;
    // Three warpgroups have registers for narrow heads only, and more to do under their softmax, which takes as long as
    // their products.
    if (size.D == 64 && size.T >= kManyQueries) return launch_hopper_attention<64, 3>(context, op), true;
    if (size.D == 64) return launch_hopper_attention<64, 2>(context, op), true;
    if (size.D == 128) return launch_hopper_attention<128, 2>(context, op), true;
  }
#endif
  return false;
}

}  // namespace bts::cuda
