// y[m,n,o] = sum over i of x[m,n,i] W_m[o,i] (+ bias_m[o]) (+ residual[m,n,o]) for a handful of rows n.
// The weights are all there is to move: every lane keeps several 16-byte loads of them in flight, and x comes out of
// the L1 cache. A block owns kTile outputs, and adds in one order.
#include "gemv.h"

#include "../../native/runs.h"
#include "../activation.cuh"
#include "../members.cuh"
#include "../quantized.cuh"
#include "../reduce.cuh"
#include "low_rank.h"
#include "mma.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

constexpr int kWarps = 8, kTile = 16, kRows = 8;
// Blocks that a multiprocessor should have: f32, which is there to check, needs more registers.
constexpr int kBlocks = sizeof(act) == 2 ? 3 : 2;
static_assert(kGemvRows <= kRows);
// Sums of a tile in shared memory, [kTile, kRows] of each warp: parts that have to be added.
constexpr int kPart = kTile * kRows, kParts = kWarps * kPart;

// What one load brings: 16 bytes.
template <class W>
constexpr int kVectorLength = 16 / sizeof(W);

template <class W>
__device__ __forceinline__ Pack<W, kVectorLength<W>> stream(const W* from) {
  const uint4 bits = load_streaming(reinterpret_cast<const uint4*>(from));
  Pack<W, kVectorLength<W>> pack;
  __builtin_memcpy(&pack, &bits, sizeof pack);
  return pack;
}

// On tensor cores, weights in bf16: a warp has every kWarps-th piece of the depth for all outputs. Which of its elements a
// lane calls its first does not matter to a sum, as long as both operands agree: 16 bytes that lie side by side are what two
// products want of a lane.
__device__ __forceinline__ void dot_tile(float* parts, const bf16* x, const bf16* w, int N, int I, int first, int O) {
  constexpr int kPiece = 64, kAhead = 2;  // elements of a row that a warp takes at once; pieces on their way
  const int warp = threadIdx.x / 32, row = threadIdx.x % 32 / 4, lane = threadIdx.x % 4;
  // Past the last output the last row is read again, and not written.
  const bf16* const rows[2] = {w + int64_t{min(first + row, O - 1)} * I, w + int64_t{min(first + row + 8, O - 1)} * I};
  const bf16* const values = x + int64_t{row} * I;
  float sums[4] = {};
#pragma unroll 1
  for (int begin = warp * kPiece; begin < I; begin += kAhead * kWarps * kPiece) {
    constexpr int kLoads = 2 * kAhead;
    uint4 a[kLoads][2], b[kLoads];
#pragma unroll
    for (int l = 0; l < kLoads; l++) {
      const int i = begin + l / 2 * (kWarps * kPiece) + l % 2 * (kPiece / 2) + lane * 8;
#pragma unroll
      for (int half = 0; half < 2; half++)
        a[l][half] = i < I ? load_streaming(reinterpret_cast<const uint4*>(rows[half] + i)) : uint4{};
      b[l] = i < I && row < N ? *reinterpret_cast<const uint4*>(values + i) : uint4{};
    }
#pragma unroll
    for (int l = 0; l < kLoads; l++) {
      mma_m16n8k16_bf16(sums, {a[l][0].x, a[l][1].x, a[l][0].y, a[l][1].y}, {b[l].x, b[l].y});
      mma_m16n8k16_bf16(sums, {a[l][0].z, a[l][1].z, a[l][0].w, a[l][1].w}, {b[l].z, b[l].w});
    }
  }
#pragma unroll
  for (int e = 0; e < 4; e++)
    parts[warp * kPart + row_of(threadIdx.x % 32, e) * kRows + col_of(threadIdx.x % 32, e)] = sums[e];
}

// Sums over a warp of outputs from `output` on.
template <int R, int kOutputs>
__device__ __forceinline__ void write_sums(float* part, const float (&sums)[kOutputs][R], int output) {
#pragma unroll
  for (int o = 0; o < kOutputs; o++)
#pragma unroll
    for (int n = 0; n < R; n++) {
      const float sum = warp_sum(sums[o][n]);
      if (threadIdx.x % 32 == o * R + n) part[(output + o) * kRows + n] = sum;
    }
}

// By multiply-adds: a warp has the whole depth for kTile / kWarps outputs, and R rows of x, N of which there are.
template <int R, class W>
__device__ __forceinline__ void dot_rows(float* part, const act* x, const W* w, int N, int I, int first, int O,
                                         bool aligned) {
  constexpr int kOutputs = kTile / kWarps, kLength = kVectorLength<W>, kAhead = 16 / kLength;
  const int lane = threadIdx.x % 32, output = threadIdx.x / 32 * kOutputs;
  const W* rows[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; o++) rows[o] = w + int64_t{min(first + output + o, O - 1)} * I;
  float sums[kOutputs][R] = {};
  if (aligned) {
#pragma unroll 1
    for (int begin = lane * kLength; begin < I; begin += kAhead * 32 * kLength) {
      Pack<W, kLength> packs[kAhead][kOutputs];
#pragma unroll
      for (int a = 0; a < kAhead; a++)
#pragma unroll
        for (int o = 0; o < kOutputs; o++)
          if (const int i = begin + a * 32 * kLength; i < I) packs[a][o] = stream(rows[o] + i);
#pragma unroll
      for (int a = 0; a < kAhead; a++) {
        const int i = begin + a * 32 * kLength;
        if (i >= I) break;
#pragma unroll
        for (int n = 0; n < R; n++) {
          if (n >= N) break;
          float v[kLength];
          load(v, x + n * int64_t{I} + i);
#pragma unroll
          for (int o = 0; o < kOutputs; o++)
#pragma unroll
            for (int e = 0; e < kLength; e++) sums[o][n] = fmaf(v[e], to_float(packs[a][o].at[e]), sums[o][n]);
        }
      }
    }
  } else {
#pragma unroll 1
    for (int i = lane; i < I; i += 32)
#pragma unroll
      for (int o = 0; o < kOutputs; o++)
#pragma unroll
        for (int n = 0; n < R; n++)
          if (n < N) sums[o][n] = fmaf(to_float(x[n * int64_t{I} + i]), to_float(rows[o][i]), sums[o][n]);
  }
  write_sums<R>(part, sums, output);
}

// Four neighbours of a row that has `left` more; zeros behind the end.
__device__ __forceinline__ void load_four(float (&v)[4], const act* x, int left, bool aligned) {
  if (aligned && left > 0) return load(v, x);
#pragma unroll
  for (int k = 0; k < 4; k++) v[k] = k < left ? to_float(x[k]) : 0.f;
}

// What a lane has of one group of a row: four codes of int8, or four and the four that share bytes with them of int4. Places tell
// which inputs they belong to, from the group's first on.
struct Int8Piece {
  static constexpr int kLanes = 32, kFours = 1;  // lanes that share a group
  float scale;
  uint32_t codes;

  __device__ __forceinline__ void read(const Int8Group& group, int lane) {
    scale = group.scale;
    codes = *reinterpret_cast<const uint32_t*>(group.codes + lane * 4);
  }
  __device__ __forceinline__ static int place(int, int lane) { return lane * 4; }
  __device__ __forceinline__ float at(int, int k) const { return scale * static_cast<int8_t>(codes >> 8 * k & 0xff); }
};
struct Int4Piece {
  static constexpr int kLanes = 4, kFours = 2;
  float scale, offset;
  uint32_t codes;

  __device__ __forceinline__ void read(const Int4Group& group, int lane) {
    scale = group.scale;
    offset = group.offset;
    codes = *reinterpret_cast<const uint32_t*>(group.codes + lane * 4);
  }
  __device__ __forceinline__ static int place(int four, int lane) { return lane * 4 + four * 16; }
  __device__ __forceinline__ float at(int four, int k) const {
    return fmaf(scale, static_cast<float>(codes >> (8 * k + 4 * four) & 15), offset);
  }
};
__device__ __forceinline__ Int8Piece piece_of(const Int8Group*) { return {}; }
__device__ __forceinline__ Int4Piece piece_of(const Int4Group*) { return {}; }

// The same of a matrix in 8 or 4 bits, which is widened in registers: groups of a row are shared out to lanes.
template <int R, class Group>
__device__ __forceinline__ void dot_groups(float* part, const act* x, const Group* w, int N, int I, int first, int O) {
  using Piece = decltype(piece_of(w));
  constexpr int kOutputs = kTile / kWarps, kNumbers = Group::kNumbers;
  constexpr int kAhead = R > 4 ? 1 : 4;        // many sums leave no registers for more
  constexpr int kAtOnce = 32 / Piece::kLanes;  // groups of a row that a warp reads together
  const int lane = threadIdx.x % 32, output = threadIdx.x / 32 * kOutputs, in_group = lane % Piece::kLanes;
  const int in_row = (I + kNumbers - 1) / kNumbers;
  const bool aligned = I % 4 == 0 && reinterpret_cast<uintptr_t>(x) % (4 * sizeof(act)) == 0;
  const Group* rows[kOutputs];
#pragma unroll
  for (int o = 0; o < kOutputs; o++) rows[o] = w + int64_t{min(first + output + o, O - 1)} * in_row;
  float sums[kOutputs][R] = {};
#pragma unroll 1
  for (int begin = lane / Piece::kLanes; begin < in_row; begin += kAhead * kAtOnce) {
    Piece pieces[kAhead][kOutputs];
#pragma unroll
    for (int a = 0; a < kAhead; a++)
#pragma unroll
      for (int o = 0; o < kOutputs; o++)
        if (const int g = begin + a * kAtOnce; g < in_row) pieces[a][o].read(rows[o][g], in_group);
#pragma unroll
    for (int a = 0; a < kAhead; a++) {
      const int g = begin + a * kAtOnce;
      if (g >= in_row) break;
#pragma unroll
      for (int four = 0; four < Piece::kFours; four++) {
        float values[kOutputs][4];
#pragma unroll
        for (int o = 0; o < kOutputs; o++)
#pragma unroll
          for (int k = 0; k < 4; k++) values[o][k] = pieces[a][o].at(four, k);
        const int i = g * kNumbers + Piece::place(four, in_group);
        const act* row = x + i;
#pragma unroll
        for (int n = 0; n < R; n++, row += I) {
          if (n >= N) break;
          float v[4];
          load_four(v, row, I - i, aligned);
#pragma unroll
          for (int o = 0; o < kOutputs; o++)
#pragma unroll
            for (int k = 0; k < 4; k++) sums[o][n] = fmaf(v[k], values[o][k], sums[o][n]);
        }
      }
    }
  }
  write_sums<R>(part, sums, output);
}

// Whether rows of I elements begin on 16 bytes.
__device__ __forceinline__ bool aligned(const act* x, const void* w, int I) {
  return I % 8 == 0 && (reinterpret_cast<uintptr_t>(x) | reinterpret_cast<uintptr_t>(w)) % 16 == 0;
}

// Parts in which the sums of a tile come.
__device__ __forceinline__ int parts_of(const act* x, const WeightList& weight, int m, int I) {
  return sizeof(act) == 2 && weight.dtype[m] == DType::BF16 && aligned(x, weight.data[m], I) ? kWarps : 1;
}

// Products of a tile of member m's weight, outputs `first`.., with x: their parts, in shared memory. By all threads of the
// block, which meet afterwards.
template <int R>
__device__ __forceinline__ void multiply(float* parts, const act* x, const WeightList& weight, int m, int N, int I,
                                         int first, int O) {
  if (in_groups(weight.dtype[m]))
    return with_groups(weight[m], [&](auto* groups) { dot_groups<R>(parts, x, groups, N, I, first, O); });
  with_elements(weight, m, [&]<class W>(const W* w) {
    if constexpr (std::is_same_v<act, bf16> && std::is_same_v<W, bf16>)
      if (aligned(x, w, I)) return dot_tile(parts, x, w, N, I, first, O);
    dot_rows<R>(parts, x, w, N, I, first, O, aligned(x, w, I));
  });
}

// Output `output` of a tile, of row n.
__device__ __forceinline__ float sum_of(const float* parts, int count, int output, int n) {
  float sum = 0;
  for (int part = 0; part < count; part++) sum += parts[part * kPart + output * kRows + n];
  return sum;
}

// The x of one member and of the next are `apart` elements apart.
template <int R, class Out>
__global__ void __launch_bounds__(kWarps * 32, kBlocks) gemv_kernel(Out* y, const act* x, int64_t apart,
                                                                    const __grid_constant__ WeightList weight,
                                                                    const __grid_constant__ WeightList bias,
                                                                    const __grid_constant__ LowRankRows low_rank,
                                                                    const act* residual, int N, int I, int O) {
  DYNAMIC_SHARED(shared);
  auto* parts = reinterpret_cast<float*>(shared);
  const int m = blockIdx.y, first = blockIdx.x * kTile;
  x += m * apart;
  multiply<R>(parts, x, weight, m, N, I, first, O);
  __syncthreads();
  const int n = threadIdx.x / kTile, o = first + threadIdx.x % kTile;
  if (n >= N || o >= O) return;
  float value = sum_of(parts, parts_of(x, weight, m, I), threadIdx.x % kTile, n);
  const int64_t at = (m * int64_t{N} + n) * O + o;
  if (bias.data[m]) with_elements(bias, m, [&](auto* b) { value += to_float(b[o]); });
  value += low_rank.sum(m, n, o);
  if (residual) value += to_float(residual[at]);
  y[at] = from_float<Out>(value);
}

struct Gated {
  act* y;
  const act* x;
  WeightList weights[2], biases[2];  // of the gate, and of what it gates
  int N, C, F;
  Activation activation;
};

template <int R>
__global__ void __launch_bounds__(kWarps * 32, kBlocks) swiglu_gemv_kernel(const __grid_constant__ Gated s) {
  DYNAMIC_SHARED(shared);
  auto* parts = reinterpret_cast<float*>(shared);
  const int m = blockIdx.y, first = blockIdx.x * kTile;
  const act* const x = s.x + m * int64_t{s.N} * s.C;
#pragma unroll
  for (int b = 0; b < 2; b++) multiply<R>(parts + b * kParts, x, s.weights[b], m, s.N, s.C, first, s.F);
  __syncthreads();
  const int n = threadIdx.x / kTile, f = first + threadIdx.x % kTile;
  if (n >= s.N || f >= s.F) return;
  float values[2];
#pragma unroll
  for (int b = 0; b < 2; b++) {
    values[b] = sum_of(parts + b * kParts, parts_of(x, s.weights[b], m, s.C), threadIdx.x % kTile, n);
    if (s.biases[b].data[m]) with_elements(s.biases[b], m, [&](auto* bias) { values[b] += to_float(bias[f]); });
  }
  s.y[(m * int64_t{s.N} + n) * s.F + f] = from_float<act>(activated(s.activation, values[0]) * values[1]);
}

// What adapters add to rows of members from `member` on, N of each.
struct Added {
  LowRanks low_rank;
  const std::vector<float*>& rows;
  int64_t member, N;

  LowRankRows list(int64_t first) const { return LowRankRows::of(low_rank, rows, member + first, N); }
};

dim3 tiles_of(int64_t outputs, int64_t members) { return dim3((outputs + kTile - 1) / kTile, members); }

template <int R>
void launch_gated_rows(Context& context, Gated s, Weights gate, Weights up, Weights gate_bias, Weights up_bias) {
  act* const y = s.y;
  const act* const x = s.x;
  for_members(gate.size(), [&](int64_t first, int64_t count) {
    s.y = y + first * s.N * s.F;
    s.x = x + first * s.N * s.C;
    s.weights[0] = WeightList::of(gate, first, count);
    s.weights[1] = WeightList::of(up, first, count);
    s.biases[0] = WeightList::of(gate_bias, first, count);
    s.biases[1] = WeightList::of(up_bias, first, count);
    GPU_LAUNCH(context, swiglu_gemv_kernel<R>, tiles_of(s.F, count), dim3(kWarps * 32), 2 * kParts * sizeof(float), s);
  });
}

template <int R, class Out>
void launch_rows(Context& context, Out* y, const act* x, int64_t apart, Weights weight, Weights bias,
                 const Added& added, const act* residual, int64_t N, int64_t I, int64_t O) {
  for_members(weight.size(), [&](int64_t first, int64_t count) {
    GPU_LAUNCH(context, (gemv_kernel<R, Out>), tiles_of(O, count), dim3(kWarps * 32), kParts * sizeof(float),
               y + first * N * O, x + first * apart, apart, WeightList::of(weight, first, count),
               WeightList::of(bias, first, count), added.list(first), residual ? residual + first * N * O : nullptr, N,
               I, O);
  });
}

template <class Out>
void launch_any(Context& context, Out* y, const act* x, int64_t apart, Weights weight, Weights bias, const Added& added,
                const act* residual, int64_t N, int64_t I, int64_t O) {
  if (N == 1) launch_rows<1>(context, y, x, apart, weight, bias, added, residual, N, I, O);
  else if (N == 2) launch_rows<2>(context, y, x, apart, weight, bias, added, residual, N, I, O);
  else if (N <= 4) launch_rows<4>(context, y, x, apart, weight, bias, added, residual, N, I, O);
  else launch_rows<kGemvRows>(context, y, x, apart, weight, bias, added, residual, N, I, O);
}

// Neighbours that share what the lists hold, as many as have kGemvRows rows together.
std::vector<Run> small_runs(int64_t members, int64_t N, std::initializer_list<Weights> lists) {
  return runs(members, kGemvRows / std::max<int64_t>(1, N), lists);
}

Weights part_of(Weights list, int64_t first, int64_t count) { return list.empty() ? list : list.subspan(first, count); }

}  // namespace

void launch_gemv(Context& context, act* y, const act* x, Weights weight, Weights bias, LowRanks low_rank,
                 const act* residual, int64_t N, int64_t I, int64_t O) {
  const auto rows = launch_few_down(context, x, low_rank, N, I);
  const int64_t members = weight.size();
  const auto shared = small_runs(members, N, {weight, bias});
  if (std::ssize(shared) == members)
    return launch_any(context, y, x, N * I, weight, bias, {low_rank, rows, 0, N}, residual, N, I, O);
  for (const auto [m, count] : shared)
    launch_any(context, y + m * N * O, x + m * N * I, 0, part_of(weight, m, 1), part_of(bias, m, 1),
               {low_rank, rows, m, N}, residual ? residual + m * N * O : nullptr, count * N, I, O);
}

template <class Out>
void launch_shared_gemv(Context& context, Out* y, const act* x, Weights weight, int64_t N, int64_t I, int64_t O) {
  launch_any(context, y, x, 0, weight, {}, {{}, {}, 0, N}, nullptr, N, I, O);
}
template void launch_shared_gemv(Context&, act*, const act*, Weights, int64_t, int64_t, int64_t);
#if defined(BTS_BF16)
template void launch_shared_gemv(Context&, float*, const act*, Weights, int64_t, int64_t, int64_t);
#endif

void launch_swiglu_gemv(Context& context, act* y, const act* x, Weights gate, Weights up, Weights gate_bias,
                        Weights up_bias, int64_t N, int64_t C, int64_t F, Activation activation) {
  const auto shared = small_runs(gate.size(), N, {gate, up, gate_bias, up_bias});
  if (shared.size() < gate.size()) {
    for (const auto [m, count] : shared)
      launch_swiglu_gemv(context, y + m * N * F, x + m * N * C, part_of(gate, m, 1), part_of(up, m, 1),
                         part_of(gate_bias, m, 1), part_of(up_bias, m, 1), count * N, C, F, activation);
    return;
  }
  const Gated s{y, x, {}, {}, static_cast<int>(N), static_cast<int>(C), static_cast<int>(F), activation};
  if (N == 1) launch_gated_rows<1>(context, s, gate, up, gate_bias, up_bias);
  else if (N == 2) launch_gated_rows<2>(context, s, gate, up, gate_bias, up_bias);
  else if (N <= 4) launch_gated_rows<4>(context, s, gate, up, gate_bias, up_bias);
  else launch_gated_rows<kGemvRows>(context, s, gate, up, gate_bias, up_bias);
}

}  // namespace bts::cuda::BTS_PRECISION
