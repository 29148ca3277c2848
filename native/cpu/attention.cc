// Attention by blocks with a running softmax (Dao et al., FlashAttention): memory is linear in the sequence, no T x T
// matrix exists. Few queries (decoding) stream over the cache instead, once for all heads of a group.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpu_ops.h"
#include "gemm/gemm.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kQueryBlock = round_up(48, kMR);
// Whole tiles, whether keys are the columns of a product or its rows.
constexpr int64_t kKeyBlock = round_up(192, std::lcm(kMR, kNR));
constexpr int64_t kStreamQueries = 4;

struct Range {
  int64_t first, last;  // last is excluded
};

// The keys that the query at `position` sees.
inline Range visible(const AttentionSize& a, int64_t position) {
  return {a.window > 0 ? std::max<int64_t>(0, position - a.window + 1) : 0, position + 1};
}

// The part of block [first, first + count) that a query sees, as offsets into the block.
inline Range visible_in(const AttentionSize& a, int64_t position, int64_t first, int64_t count) {
  const Range keys = visible(a, position);
  const int64_t lo = std::clamp<int64_t>(keys.first - first, 0, count);
  return {lo, std::clamp<int64_t>(keys.last - first, lo, count)};
}

inline float dot(const float* a, const float* b, int64_t n) {
  vfloat acc{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) acc += load(a + i) * load(b + i);
  float sum = reduce_add(acc);
  for (; i < n; i++) sum += a[i] * b[i];
  return sum;
}

inline void scale_row(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

// x = exp(x - shift) in place; returns the sum.
inline float exp_row(float* x, float shift, int64_t n) {
  vfloat acc{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const vfloat e = exp_of_shifted(load(x + i) - shift);
    store(x + i, e);
    acc += e;
  }
  float sum = reduce_add(acc);
  for (; i < n; i++) sum += x[i] = exp_of_shifted(splat(x[i] - shift))[0];
  return sum;
}

inline float max_row(const float* x, int64_t n) {
  vfloat best = splat(-std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) best = max(load(x + i), best);
  float top = reduce_max(best);
  for (; i < n; i++) top = std::max(top, x[i]);
  return top;
}

// The soft cap on scores. What lies behind the last of them is of no matter.
inline void cap_row(float* x, float cap, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) store(x + i, capped<Math>(load(x + i), cap));
}

// sum over j of weights[j] * rows[j], in blocks of channels that stay in registers.
void add_weighted_rows(float* sum, const float* weights, const float* rows, int64_t stride, int64_t count, int64_t D) {
  constexpr int kVectors = 4;
  int64_t d = 0;
  for (; d + kVectors * kLanes <= D; d += kVectors * kLanes) {
    vfloat acc[kVectors];
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i++) acc[i] = load(sum + d + i * kLanes);
    for (int64_t j = 0; j < count; j++)
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; i++) acc[i] += weights[j] * load(rows + j * stride + d + i * kLanes);
#pragma GCC unroll 4
    for (int i = 0; i < kVectors; i++) store(sum + d + i * kLanes, acc[i]);
  }
  for_vectors(d, D, [&](int64_t d, auto lanes) {
    vfloat acc = lanes.load(sum, d);
    for (int64_t j = 0; j < count; j++) acc += weights[j] * lanes.load(rows, j * stride + d);
    lanes.store(sum, d, acc);
  });
}

// Keys, or values, of one head of one sequence.
struct HeadRows {
  const float* data;  // of all sequences
  const Pages& pages;
  const AttentionSize& a;
  int64_t sequence, head;

  // Row j, which is followed by the others of its block. A page that is missing means nothing, but is read.
  const float* from(int64_t j) const {
    return data + (std::max<int64_t>(0, slot_of(pages, sequence, a.S, j)) * a.K + head) * a.D;
  }
};

// All heads of one group, T queries, against the cache of one sequence. A block of keys stays in the cache for all of
// them, and the next is fetched meanwhile: rows lie too far apart for the processor to do that by itself.
void stream_group(float* out, float* lse, const float* q, const HeadRows& k, const HeadRows& v, float* scores,
                  const AttentionSize& a, int64_t start) {
  const int64_t heads = a.H / a.K, stride = a.K * a.D;
  const Range keys{visible(a, start).first, start + a.T};
  const auto for_blocks = [&](const HeadRows& all, auto&& block) {
    const auto end_of = [&](int64_t j) { return std::min(j / kPageTokens * kPageTokens + kPageTokens, keys.last); };
    for (int64_t j = keys.first, next; j < keys.last; j = next) {
      next = end_of(j);
      const float *rows = all.from(j), *later = next < keys.last ? all.from(next) : nullptr;
      for (int64_t ahead = 0; later && ahead < end_of(next) - next; ahead++)
        for (int64_t d = 0; d < a.D; d += 16) __builtin_prefetch(later + ahead * stride + d);
      for (int64_t t = 0; t < a.T; t++)
        for (int64_t h = 0; h < heads; h++) block(t, h, scores + (t * heads + h) * a.S, Range{j, next}, rows);
    }
  };
  for_blocks(k, [&](int64_t t, int64_t h, float* row, Range block, const float* rows) {
    for (int64_t j = block.first; j < block.last; j++)
      row[j] = a.scale * dot(q + (t * a.H + h) * a.D, rows + (j - block.first) * stride, a.D);
  });
  for (int64_t t = 0; t < a.T; t++)
    for (int64_t h = 0; h < heads; h++) {
      float* row = scores + (t * heads + h) * a.S;
      const Range seen = visible(a, start + t);
      const int64_t n = seen.last - seen.first;
      if (a.softcap > 0)
        for_vectors(seen.first, seen.last,
                    [&](int64_t j, auto lanes) { lanes.store(row, j, capped<Math>(lanes.load(row, j), a.softcap)); });
      const float top = max_row(row + seen.first, n);
      const float sum = exp_row(row + seen.first, top, n);
      scale_row(row + seen.first, 1 / sum, n);
      if (lse) lse[h * a.T + t] = top + std::log(sum);
      std::fill_n(out + (t * a.H + h) * a.D, a.D, 0.0f);
    }
  for_blocks(v, [&](int64_t t, int64_t h, const float* row, Range block, const float* rows) {
    const Range seen = visible(a, start + t);
    const int64_t first = std::max(block.first, seen.first), count = std::min(block.last, seen.last) - first;
    add_weighted_rows(out + (t * a.H + h) * a.D, row + first, rows + (first - block.first) * stride, stride, count,
                      a.D);
  });
}

// Scratch of one worker, carved from one piece of memory.
struct Workspace {
  float* next;
  float* take(int64_t n) {
    float* piece = next;
    next += round_up(n, 16);
    return piece;
  }
};

// Scores of a block, [kQueryBlock][kScoreStride], with a margin behind each row and before the first.
constexpr int64_t kMargin = round_up(kMR + kLanes, 16);
constexpr int64_t kScoreStride = (kKeyBlock + kMargin) | 16;  // rows are an odd number of cache lines apart
constexpr int64_t kScores = kQueryBlock * kScoreStride;

// Rows that are copied do not share sets of the first-level cache.
int64_t copy_stride(int64_t D) { return D + 16; }

// Row i of those that are copied next, asked for beside row i of these: rows of heads lie too far apart for the processor to do
// that by itself. Measured where vectors are narrow, and done only there.
inline void fetch_row(const float* x, int64_t D) {
  if constexpr (kLanes == 8)
    for (int64_t d = 0; d < D; d += 16) __builtin_prefetch(x + d, 0, 2);
}

// Rows of zeros fill the last tile.
void copy_scaled(float* to, const float* x, int64_t stride, int64_t rows, int64_t D, float scale) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t d = 0; d < D; d++) to[i * copy_stride(D) + d] = scale * x[i * stride + d];
  for (int64_t i = rows; i < round_up(rows, kMR); i++) std::fill_n(to + i * copy_stride(D), D, 0.0f);
}

// Keys or values of one group are packed `along` the channels, as the right operand of products whose depth these are, in
// panels of kNR keys; or `over` the keys, for products whose depth those are, in panels of kNR channels.
int64_t along_size(const AttentionSize& a) { return packed_cols_size(a.S, a.D); }
int64_t over_size(const AttentionSize& a) { return packed_cols_size(a.D, a.S); }

// Packs some rows over them; panels have room for `capacity`.
void pack_over(float* packed, const float* x, int64_t stride, int64_t rows, int64_t capacity, int64_t D) {
  for (int64_t d = 0; d < D; d += kNR)
    pack_cols(packed + d * capacity, row_major(x, stride), {d, std::min<int64_t>(kNR, D - d), 0, rows});
}

// Where a block of queries meets a block of keys. Only tiles in which a query sees a key are computed.
struct Meeting {
  const AttentionSize& a;
  int64_t position, rows;            // of the first query; how many
  int64_t first, keys;               // the first key; how many
  Range tiles[kQueryBlock / kMR]{};  // what any query of a tile sees

  Meeting(const AttentionSize& a, int64_t position, int64_t rows, int64_t first, int64_t keys)
      : a(a), position(position), rows(rows), first(first), keys(keys) {
    for (int64_t i = 0; i < rows; i += kMR) tiles[i / kMR] = {row(i).first, row(std::min(rows, i + kMR) - 1).last};
  }

  Range row(int64_t i) const { return visible_in(a, position + i, first, keys); }
  // The vectors of row i that hold what its tile sees.
  Range vectors(int64_t i) const {
    const Range seen = tiles[i / kMR];
    return {seen.first / kLanes * kLanes, round_up(seen.last, kLanes)};
  }
  // The queries that see any of the keys of the tile at key c.
  Range queries(int64_t c) const {
    const int64_t nearest = first + c - position;
    const int64_t last = a.window > 0 ? std::min(rows, nearest + kMR - 1 + a.window) : rows;
    return {std::max<int64_t>(0, nearest), last};
  }

  // scores = left K^T, for rows copied by copy_scaled.
  void multiply(float* scores, const float* left, const float* packed) const {
    for (int64_t j = 0; j < keys; j += kNR)
      for (int64_t i = 0; i < rows; i += kMR) {
        const Range seen = tiles[i / kMR];
        if (j + kNR <= seen.first || j >= seen.last) continue;
        multiply_tile(scores + i * kScoreStride + j, kScoreStride,
                      PlainRows{left + i * copy_stride(a.D), copy_stride(a.D)}, packed + (first + j) * a.D, a.D, kMR,
                      kNR, {nullptr, 0, nullptr});
      }
  }

  // sum (+)= weights V, a row of the sum for each query.
  void add_over_keys(float* sum, int64_t stride, const float* weights, const float* packed, bool accumulate) const {
    for (int64_t d = 0; d < a.D; d += kNR)
      for (int64_t i = 0; i < rows; i += kMR) {
        const Range seen = tiles[i / kMR];
        float* to = sum + i * stride + d;
        multiply_tile(to, stride, PlainRows{weights + i * kScoreStride + seen.first, kScoreStride},
                      packed + d * a.S + (first + seen.first) * kNR, seen.last - seen.first,
                      std::min<int64_t>(kMR, rows - i), std::min<int64_t>(kNR, a.D - d),
                      {accumulate ? to : nullptr, stride, nullptr});
      }
  }

  // sum (+)= weights^T Q, a row of the sum for each key. Where not all is added, the first queries that see a key set its row.
  void add_over_queries(float* sum, int64_t stride, const float* weights, const float* packed, bool accumulate) const {
    for (int64_t d = 0; d < a.D; d += kNR)
      for (int64_t c = 0; c < keys; c += kMR) {
        const Range seen = queries(c);
        if (seen.first >= seen.last) continue;
        float* to = sum + (first + c) * stride + d;
        multiply_tile(to, stride, RowsSideBySide{weights + seen.first * kScoreStride + c, kScoreStride},
                      packed + d * kQueryBlock + seen.first * kNR, seen.last - seen.first,
                      std::min<int64_t>(kMR, keys - c), std::min<int64_t>(kNR, a.D - d),
                      {accumulate || position > first + c ? to : nullptr, stride, nullptr});
      }
  }
};

// Writes over what a query does not see, as far as tiles and vectors with a key that it sees reach.
inline void fill_unseen(float* row, Range seen, float value) {
  if (seen.first > 0) std::fill_n(row + seen.first - kMargin, kMargin, value);
  std::fill_n(row + seen.last, kMargin, value);
}

int64_t forward_workspace(int64_t D) {
  return round_up(kQueryBlock * copy_stride(D), 16) + round_up(kMargin + kScores, 16);
}

// One block of queries of one head. packed_k and packed_v hold all keys of the head's group; `later` is where the block begins
// that is next.
void forward_block(float* out, float* lse, const float* q, const float* packed_k, const float* packed_v,
                   const float* later, Workspace space, const AttentionSize& a, int64_t start, int64_t t0) {
  const int64_t rows = std::min(kQueryBlock, a.T - t0), stride = a.H * a.D;
  float* queries = space.take(kQueryBlock * copy_stride(a.D));
  float* scores = space.take(kMargin + kScores) + kMargin;
  float top[kQueryBlock], sum[kQueryBlock];
  std::fill_n(top, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(sum, rows, 0.0f);
  copy_scaled(queries, q + t0 * stride, stride, rows, a.D, a.scale);
  out += t0 * stride;

  const int64_t first = visible(a, start + t0).first / kKeyBlock * kKeyBlock, last = start + t0 + rows;
  for (int64_t j = first; j < last; j += kKeyBlock) {
    const Meeting meeting{a, start + t0, rows, j, std::min(kKeyBlock, last - j)};
    meeting.multiply(scores, queries, packed_k);
    // All rows in turn, or each would wait for its own maximum.
    float now[kQueryBlock];
    for (int64_t i = 0; i < rows; i++) {
      if (j == first) fetch_row(later + i * stride, a.D);
      const Range all = meeting.vectors(i);
      float* row = scores + i * kScoreStride;
      if (a.softcap > 0) cap_row(row + all.first, a.softcap, all.last - all.first);
      fill_unseen(row, meeting.row(i), -std::numeric_limits<float>::infinity());
      now[i] = std::max(max_row(row + all.first, all.last - all.first), top[i]);
    }
    for (int64_t i = 0; i < rows; i++) {
      const Range all = meeting.vectors(i);
      const float shift = now[i] == -std::numeric_limits<float>::infinity() ? 0 : now[i];  // where no key was seen yet
      const float part = exp_row(scores + i * kScoreStride + all.first, shift, all.last - all.first);
      if (j > first && now[i] != top[i]) {
        const float shrink = exp(top[i] - now[i]);
        sum[i] *= shrink;
        scale_row(out + i * stride, shrink, a.D);
      }
      top[i] = now[i];
      sum[i] += part;
    }
    meeting.add_over_keys(out, stride, scores, packed_v, j > first);
  }
  for (int64_t i = 0; i < rows; i++) {
    scale_row(out + i * stride, 1 / sum[i], a.D);
    if (lse) lse[t0 + i] = top[i] + std::log(sum[i]);
  }
}

int64_t backward_workspace(const AttentionSize& a) {
  return 2 * along_size(a) + over_size(a) + 2 * kQueryBlock * copy_stride(a.D) +
         2 * packed_cols_size(a.D, kQueryBlock) + 2 * (kMargin + kScores) + 9 * 16;
}

// dq of some heads that share keys, and their share of dk and dv, whose rows lie `share_stride` apart.
void backward_heads(float* dq, float* dk, float* dv, int64_t share_stride, const float* dout, const float* out,
                    const float* lse, const float* q, const float* k, const float* v, int64_t heads, Workspace space,
                    const AttentionSize& a) {
  const int64_t D = a.D, stride = a.H * D, key_stride = a.K * D;
  const float scale = a.scale;
  float* k_along = space.take(along_size(a));
  float* v_along = space.take(along_size(a));
  float* k_over = space.take(over_size(a));
  float* q_left = space.take(kQueryBlock * copy_stride(D));
  float* dout_left = space.take(kQueryBlock * copy_stride(D));
  float* q_over = space.take(packed_cols_size(D, kQueryBlock));
  float* dout_over = space.take(packed_cols_size(D, kQueryBlock));
  float* p = space.take(kMargin + kScores) + kMargin;
  float* ds = space.take(kMargin + kScores) + kMargin;
  pack_cols(k_along, transposed(k, key_stride), {0, a.T, 0, D});
  pack_cols(v_along, transposed(v, key_stride), {0, a.T, 0, D});
  pack_over(k_over, k, key_stride, a.T, a.T, D);
  for (int64_t h = 0; h < heads; h++)
    for (int64_t t0 = 0; t0 < a.T; t0 += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, a.T - t0), last = t0 + rows, at = t0 * stride + h * D;
      const int64_t later = last < a.T ? at + rows * stride : std::min(h + 1, heads - 1) * D;
      copy_scaled(q_left, q + at, stride, rows, D, 1);
      copy_scaled(dout_left, dout + at, stride, rows, D, 1);
      pack_over(q_over, q_left, copy_stride(D), rows, kQueryBlock, D);
      pack_over(dout_over, dout_left, copy_stride(D), rows, kQueryBlock, D);
      float delta[kQueryBlock];
      for (int64_t i = 0; i < rows; i++) delta[i] = dot(dout_left + i * copy_stride(D), out + at + i * stride, D);
      const int64_t first = visible(a, t0).first / kKeyBlock * kKeyBlock;
      for (int64_t j = first; j < last; j += kKeyBlock) {
        const Meeting meeting{a, t0, rows, j, std::min(kKeyBlock, last - j)};
        meeting.multiply(p, q_left, k_along);
        meeting.multiply(ds, dout_left, v_along);
        for (int64_t i = 0; i < rows; i++) {
          // forward: p = exp(s - lse), s = capped(q k^T * scale); out = p v.  ds = p (dout v^T - dout . out), times the
          // slope of the cap, 1 - (s / cap)^2
          if (j == first)
            for (const float* x : {q, dout, out}) fetch_row(x + later + i * stride, D);
          const Range seen = meeting.row(i), all = meeting.vectors(i);
          float *pi = p + i * kScoreStride, *dsi = ds + i * kScoreStride;
          const float shift = lse[h * a.T + t0 + i];
          for (int64_t c = all.first; c < all.last; c += kLanes) {
            vfloat score = load(pi + c) * scale, above = (load(dsi + c) - delta[i]) * scale;
            if (a.softcap > 0) {
              score = capped<Math>(score, a.softcap);
              above *= capped_slope(score, a.softcap);
            }
            const vfloat weight = exp_of_shifted(score - shift);
            store(pi + c, weight);
            store(dsi + c, weight * above);
          }
          fill_unseen(pi, seen, 0);
          fill_unseen(dsi, seen, 0);
        }
        meeting.add_over_keys(dq + at, stride, ds, k_over, j > first);
        meeting.add_over_queries(dk, share_stride, ds, q_over, h > 0);
        meeting.add_over_queries(dv, share_stride, p, dout_over, h > 0);
      }
    }
}

// Heads that share keys are cut into parts, so that there are so many tasks where that can be. Parts have shares of dk and dv.
constexpr int64_t kBackwardTasks = 64;
int64_t parts_of(const AttentionSize& a) {
  const int64_t groups = a.M * a.B * a.K, heads = a.H / a.K;
  for (int64_t parts = 1; parts < heads; parts++)
    if (heads % parts == 0 && groups * parts >= kBackwardTasks) return parts;
  return heads;
}

// sum over the parts of a group of their shares [T, D], in their order, to where the group's keys lie.
void add_shares(float* sum, const float* shares, int64_t parts, const AttentionSize& a) {
  for (int64_t t = 0; t < a.T; t++) {
    float* row = sum + t * a.K * a.D;
    std::copy_n(shares + t * a.D, a.D, row);
    for (int64_t part = 1; part < parts; part++) {
      const float* share = shares + (part * a.T + t) * a.D;
      for (int64_t d = 0; d < a.D; d++) row[d] += share[d];
    }
  }
}

}  // namespace

void CpuOps::run(const AttentionForward& op) {
  const auto& [q, k, v, pages, starts, out, lse, a] = op;
  scratch_.reset();
  const int64_t groups = a.M * a.B * a.K, heads = a.H / a.K;
  const auto start_of = [&](int64_t b) -> int64_t { return starts ? starts[b] : 0; };
  if (a.T <= kStreamQueries) {
    const int64_t rows = a.T * heads * a.S;
    float* scores = scratch_.floats(rows * pool_.threads());
    pool_.parallel_for(groups, [&](int64_t group, int worker) {
      const int64_t mb = group / a.K, kv = group % a.K, head = kv * heads;
      stream_group(out + (mb * a.T * a.H + head) * a.D, lse ? lse + (mb * a.H + head) * a.T : nullptr,
                   q + (mb * a.T * a.H + head) * a.D, HeadRows{k, pages, a, mb, kv}, HeadRows{v, pages, a, mb, kv},
                   scores + worker * rows, a, start_of(mb % a.B));
    });
    return;
  }
  // By pages, on which rows follow each other.
  const int64_t pieces = (a.S + kPageTokens - 1) / kPageTokens, k_size = along_size(a), v_size = over_size(a);
  float* packed_k = scratch_.floats(groups * k_size);
  float* packed_v = scratch_.floats(groups * v_size);
  const int64_t space = round_up(forward_workspace(a.D), 16);
  float* spaces = scratch_.floats(space * pool_.threads());
  pool_.parallel_for(groups * pieces, [&](int64_t i, int) {
    const int64_t group = i / pieces, mb = group / a.K, kv = group % a.K, j = i % pieces * kPageTokens;
    const int64_t filled = start_of(mb % a.B) + a.T;  // the cache beyond is not written yet
    if (j >= filled) return;
    const int64_t keys = std::min(kPageTokens, filled - j);
    pack_cols(packed_k + group * k_size + j * a.D, transposed(HeadRows{k, pages, a, mb, kv}.from(j), a.K * a.D),
              {0, keys, 0, a.D});
    pack_over(packed_v + group * v_size + j * kNR, HeadRows{v, pages, a, mb, kv}.from(j), a.K * a.D, keys, a.S, a.D);
  });
  const int64_t query_blocks = (a.T + kQueryBlock - 1) / kQueryBlock;
  const int64_t tasks = a.M * a.B * a.H * query_blocks;
  // The longest rows first, so that none is left for the end.
  const auto first_query = [&](int64_t i) { return (query_blocks - 1 - i % query_blocks) * kQueryBlock; };
  const auto queries_of = [&](int64_t i) {
    const int64_t mbh = i / query_blocks;
    return q + ((mbh / a.H * a.T + first_query(i)) * a.H + mbh % a.H) * a.D;
  };
  pool_.parallel_for(tasks, [&](int64_t i, int worker) {
    const int64_t mbh = i / query_blocks, mb = mbh / a.H, h = mbh % a.H, group = mb * a.K + h / heads;
    const int64_t t0 = first_query(i);
    forward_block(out + (mb * a.T * a.H + h) * a.D, lse ? lse + mbh * a.T : nullptr, q + (mb * a.T * a.H + h) * a.D,
                  packed_k + group * k_size, packed_v + group * v_size,
                  queries_of(std::min(tasks - 1, i + pool_.threads())), {spaces + worker * space}, a,
                  start_of(mb % a.B), t0);
  });
}

void CpuOps::run(const AttentionBackward& op) {
  const auto [dout, out, lse, q, k, v, dq, dk, dv, a] = op;
  scratch_.reset();
  const int64_t groups = a.M * a.B * a.K, parts = parts_of(a), heads = a.H / a.K / parts;
  const int64_t space = round_up(backward_workspace(a), 16), share = a.T * a.D;
  float* spaces = scratch_.floats(space * pool_.threads());
  float* dk_shares = parts > 1 ? scratch_.floats(groups * parts * share) : nullptr;
  float* dv_shares = parts > 1 ? scratch_.floats(groups * parts * share) : nullptr;
  const auto key_of = [&](int64_t group) { return (group / a.K * a.T * a.K + group % a.K) * a.D; };
  pool_.parallel_for(groups * parts, [&](int64_t i, int worker) {
    const int64_t group = i / parts, mb = group / a.K, h = i % (a.K * parts) * heads, key = key_of(group);
    const int64_t row = (mb * a.T * a.H + h) * a.D;
    backward_heads(dq + row, parts > 1 ? dk_shares + i * share : dk + key, parts > 1 ? dv_shares + i * share : dv + key,
                   parts > 1 ? a.D : a.K * a.D, dout + row, out + row, lse + (mb * a.H + h) * a.T, q + row, k + key,
                   v + key, heads, {spaces + worker * space}, a);
  });
  if (parts == 1) return;
  pool_.parallel_for(groups, [&](int64_t group, int) {
    const int64_t key = key_of(group);
    add_shares(dk + key, dk_shares + group * parts * share, parts, a);
    add_shares(dv + key, dv_shares + group * parts * share, parts, a);
  });
}

}  // namespace bts::cpu::BTS_ISA
