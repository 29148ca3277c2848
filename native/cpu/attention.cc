// Attention by blocks with a running softmax (Dao et al., FlashAttention): memory is linear in the sequence, no T x T
// matrix exists. Few queries (decoding) stream over the cache instead, once for all heads of a group.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_ops.h"
#include "gemm/gemm.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kQueryBlock = (48 + kMR - 1) / kMR * kMR;
constexpr int64_t kKeyBlock = 64;
static_assert(kKeyBlock % kNR == 0);
constexpr int64_t kStreamQueries = 4;
static_assert(kPageTokens % kKeyBlock == 0, "a block of keys lies on one page");

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
    const auto end_of = [&](int64_t j) { return std::min(j / kKeyBlock * kKeyBlock + kKeyBlock, keys.last); };
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

// What scores are where a query does not look, up to a whole vector. Most rows of most blocks see all keys.
inline void fill_unseen(float* row, Range seen, int64_t keys, float value) {
  if (seen.first > 0) std::fill_n(row, seen.first, value);
  if (seen.last < round_up(keys, kLanes)) std::fill(row + seen.last, row + round_up(keys, kLanes), value);
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

// Scores of a block, [kQueryBlock][kScoreStride]: the microkernel may look past the last key of a row.
constexpr int64_t kScoreStride = kKeyBlock + 16;
constexpr int64_t kScores = kQueryBlock * kScoreStride;
static_assert(round_up(kKeyBlock, kMR) <= kScoreStride);

// Queries are copied with a stride at which their rows do not share sets of the first-level cache.
int64_t query_stride(int64_t D) { return D + 16; }

void copy_scaled(float* to, const float* x, int64_t stride, int64_t rows, int64_t D, float scale) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t d = 0; d < D; d++) to[i * query_stride(D) + d] = scale * x[i * stride + d];
}

// C (+)= A B for plain rows of A; B in panels that lie `panel` apart.
void multiply_plain(float* c, int64_t c_stride, const float* a, int64_t a_stride, const float* b, int64_t panel,
                    int64_t rows, int64_t cols, int64_t depth, bool accumulate) {
  for (int64_t j = 0; j < cols; j += kNR, b += panel)
    for (int64_t i = 0; i < rows; i += kMR) {
      float* tile = c + i * c_stride + j;
      multiply_tile(tile, c_stride, PlainRows{a + i * a_stride, a_stride}, b, depth, std::min<int64_t>(kMR, rows - i),
                    std::min<int64_t>(kNR, cols - j), {accumulate ? tile : nullptr, c_stride, nullptr});
    }
}

// C += A^T B for A [depth][rows] as scores lie.
void add_transposed(float* c, int64_t c_stride, const float* a, const float* b, int64_t panel, int64_t rows,
                    int64_t cols, int64_t depth) {
  for (int64_t j = 0; j < cols; j += kNR, b += panel)
    for (int64_t i = 0; i < rows; i += kMR) {
      float* tile = c + i * c_stride + j;
      multiply_tile(tile, c_stride, RowsSideBySide{a + i, kScoreStride}, b, depth, std::min<int64_t>(kMR, rows - i),
                    std::min<int64_t>(kNR, cols - j), {tile, c_stride, nullptr});
    }
}

// Packs rows as the right operand of products over them: panels of kNR channels, `capacity` rows apart.
void pack_lower(float* packed, const float* x, int64_t stride, int64_t rows, int64_t capacity, int64_t D) {
  for (int64_t d = 0; d < D; d += kNR)
    pack_cols(packed + d * capacity, row_major(x, stride), {d, std::min<int64_t>(kNR, D - d), 0, rows});
}

int64_t forward_workspace(int64_t D) { return round_up(kQueryBlock * query_stride(D), 16) + round_up(kScores, 16); }

// One block of queries of one head. packed_k and packed_v hold all key blocks of the head's group.
void forward_block(float* out, float* lse, const float* q, const float* packed_k, const float* packed_v,
                   Workspace space, const AttentionSize& a, int64_t start, int64_t t0) {
  const int64_t rows = std::min(kQueryBlock, a.T - t0), stride = a.H * a.D;
  float* queries = space.take(kQueryBlock * query_stride(a.D));
  float* scores = space.take(kScores);
  float top[kQueryBlock], sum[kQueryBlock];
  std::fill_n(top, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(sum, rows, 0.0f);
  copy_scaled(queries, q + t0 * stride, stride, rows, a.D, a.scale);

  const int64_t first = visible(a, start + t0).first / kKeyBlock * kKeyBlock, last = start + t0 + rows;
  for (int64_t j = first; j < last; j += kKeyBlock) {
    const int64_t keys = std::min(kKeyBlock, last - j);
    const float* block_k = packed_k + j * a.D;
    const float* block_v = packed_v + (j / kKeyBlock) * packed_cols_size(a.D, kKeyBlock);
    multiply_plain(scores, kScoreStride, queries, query_stride(a.D), block_k, kNR * a.D, rows, keys, a.D, false);
    for (int64_t i = 0; i < rows; i++) {
      float* row = scores + i * kScoreStride;
      const Range seen = visible_in(a, start + t0 + i, j, keys);
      if (seen.first == seen.last) {
        std::fill_n(row, keys, 0.0f);
        continue;
      }
      if (a.softcap > 0) cap_row(row, a.softcap, keys);
      fill_unseen(row, seen, keys, -std::numeric_limits<float>::infinity());
      const float now = std::max(max_row(row, round_up(keys, kLanes)), top[i]);
      const float part = exp_row(row, now, round_up(keys, kLanes));
      if (now != top[i]) {
        if (j > first) {
          const float shrink = exp(top[i] - now);
          sum[i] *= shrink;
          scale_row(out + (t0 + i) * stride, shrink, a.D);
        }
        top[i] = now;
      }
      sum[i] += part;
    }
    multiply_plain(out + t0 * stride, stride, scores, kScoreStride, block_v, kNR * kKeyBlock, rows, a.D, keys,
                   j > first);
  }
  for (int64_t i = 0; i < rows; i++) {
    scale_row(out + (t0 + i) * stride, 1 / sum[i], a.D);
    if (lse) lse[t0 + i] = top[i] + std::log(sum[i]);
  }
}

int64_t backward_workspace(int64_t D) {
  return 2 * packed_cols_size(kKeyBlock, D) + packed_cols_size(D, kKeyBlock) + 2 * kQueryBlock * query_stride(D) +
         2 * packed_cols_size(D, kQueryBlock) + 2 * kScores + 8 * 16;
}

// One head: dq, and its share of dk and dv, which lie dense [T, D].
void backward_head(float* dq, float* dk, float* dv, const float* dout, const float* lse, const float* delta,
                   const float* q, const float* k, const float* v, Workspace space, const AttentionSize& a) {
  const int64_t D = a.D, stride = a.H * D, key_stride = a.K * D;
  const float scale = a.scale;
  float* k_right = space.take(packed_cols_size(kKeyBlock, D));  // K^T: depth D
  float* v_right = space.take(packed_cols_size(kKeyBlock, D));  // V^T: depth D
  float* k_lower = space.take(packed_cols_size(D, kKeyBlock));  // K: depth is the keys
  float* q_left = space.take(kQueryBlock * query_stride(D));
  float* dout_left = space.take(kQueryBlock * query_stride(D));
  float* q_lower = space.take(packed_cols_size(D, kQueryBlock));
  float* dout_lower = space.take(packed_cols_size(D, kQueryBlock));
  float* p = space.take(kScores);
  float* ds = space.take(kScores);
  for (int64_t j = 0; j < a.T; j += kKeyBlock) {
    const int64_t block = std::min(kKeyBlock, a.T - j);
    pack_cols(k_right, transposed(k + j * key_stride, key_stride), {0, block, 0, D});
    pack_cols(v_right, transposed(v + j * key_stride, key_stride), {0, block, 0, D});
    pack_lower(k_lower, k + j * key_stride, key_stride, block, kKeyBlock, D);
    std::fill_n(dk + j * D, block * D, 0.0f);
    std::fill_n(dv + j * D, block * D, 0.0f);
    // The first block of queries that may see key j, and the last: later ones have it behind their window.
    const int64_t t_end = a.window > 0 ? std::min(a.T, j + block - 1 + a.window) : a.T;
    for (int64_t t0 = j / kQueryBlock * kQueryBlock; t0 < t_end; t0 += kQueryBlock) {
      const int64_t rows = std::min(kQueryBlock, a.T - t0), keys = std::min(block, t0 + rows - j);
      copy_scaled(q_left, q + t0 * stride, stride, rows, D, scale);
      copy_scaled(dout_left, dout + t0 * stride, stride, rows, D, 1);
      pack_lower(q_lower, q + t0 * stride, stride, rows, kQueryBlock, D);
      pack_lower(dout_lower, dout + t0 * stride, stride, rows, kQueryBlock, D);
      multiply_plain(p, kScoreStride, q_left, query_stride(D), k_right, kNR * D, rows, keys, D, false);
      multiply_plain(ds, kScoreStride, dout_left, query_stride(D), v_right, kNR * D, rows, keys, D, false);
      for (int64_t i = 0; i < rows; i++) {
        // forward: p = exp(s - lse), s = capped(q k^T * scale); out = p v.  ds = p (dout v^T - dout . out), times the slope
        // of the cap, 1 - (s / cap)^2
        const Range seen = visible_in(a, t0 + i, j, keys);
        float *pi = p + i * kScoreStride, *dsi = ds + i * kScoreStride;
        const int64_t whole = round_up(keys, kLanes);
        const vfloat centre = splat(delta[t0 + i]);
        if (a.softcap > 0)
          for (int64_t c = 0; c < whole; c += kLanes) {
            const vfloat score = capped<Math>(load(pi + c), a.softcap);
            store(pi + c, score);
            store(dsi + c, (load(dsi + c) - centre) * capped_slope(score, a.softcap));
          }
        fill_unseen(pi, seen, keys, -std::numeric_limits<float>::infinity());
        fill_unseen(dsi, seen, keys, 0);
        exp_row(pi, lse[t0 + i], whole);
        for (int64_t c = 0; c < whole; c += kLanes) {
          const vfloat above = a.softcap > 0 ? load(dsi + c) : load(dsi + c) - centre;
          store(dsi + c, load(pi + c) * above * scale);
        }
      }
      const bool is_first = j == visible(a, t0).first / kKeyBlock * kKeyBlock;
      multiply_plain(dq + t0 * stride, stride, ds, kScoreStride, k_lower, kNR * kKeyBlock, rows, D, keys, !is_first);
      add_transposed(dk + j * D, D, ds, q_lower, kNR * kQueryBlock, keys, D, rows);
      add_transposed(dv + j * D, D, p, dout_lower, kNR * kQueryBlock, keys, D, rows);
    }
  }
}

// sum over the heads of a group of their shares [T, D], in their order, to where the group's keys lie.
void add_heads(float* sum, const float* shares, int64_t heads, const AttentionSize& a) {
  for (int64_t t = 0; t < a.T; t++) {
    float* row = sum + t * a.K * a.D;
    std::copy_n(shares + t * a.D, a.D, row);
    for (int64_t h = 1; h < heads; h++) {
      const float* share = shares + (h * a.T + t) * a.D;
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
  const int64_t blocks = (a.S + kKeyBlock - 1) / kKeyBlock, v_block = packed_cols_size(a.D, kKeyBlock);
  const int64_t k_size = packed_cols_size(a.S, a.D), v_size = blocks * v_block;
  float* packed_k = scratch_.floats(groups * k_size);
  float* packed_v = scratch_.floats(groups * v_size);
  const int64_t space = round_up(forward_workspace(a.D), 16);
  float* spaces = scratch_.floats(space * pool_.threads());
  pool_.parallel_for(groups * blocks, [&](int64_t i, int) {
    const int64_t group = i / blocks, mb = group / a.K, kv = group % a.K, j = i % blocks * kKeyBlock;
    const int64_t filled = start_of(mb % a.B) + a.T;  // the cache beyond is not written yet
    if (j >= filled) return;
    const int64_t keys = std::min(kKeyBlock, filled - j), stride = a.K * a.D;
    const HeadRows own_k{k, pages, a, mb, kv}, own_v{v, pages, a, mb, kv};
    pack_cols(packed_k + group * k_size + j * a.D, transposed(own_k.from(j), stride), {0, keys, 0, a.D});
    pack_lower(packed_v + group * v_size + j / kKeyBlock * v_block, own_v.from(j), stride, keys, kKeyBlock, a.D);
  });
  const int64_t query_blocks = (a.T + kQueryBlock - 1) / kQueryBlock;
  pool_.parallel_for(a.M * a.B * a.H * query_blocks, [&](int64_t i, int worker) {
    const int64_t mbh = i / query_blocks, mb = mbh / a.H, h = mbh % a.H, group = mb * a.K + h / heads;
    // The longest rows first, so that none is left for the end.
    const int64_t t0 = (query_blocks - 1 - i % query_blocks) * kQueryBlock;
    forward_block(out + (mb * a.T * a.H + h) * a.D, lse ? lse + mbh * a.T : nullptr, q + (mb * a.T * a.H + h) * a.D,
                  packed_k + group * k_size, packed_v + group * v_size, {spaces + worker * space}, a,
                  start_of(mb % a.B), t0);
  });
}

void CpuOps::run(const AttentionBackward& op) {
  const auto [dout, out, lse, q, k, v, dq, dk, dv, a] = op;
  scratch_.reset();
  const int64_t heads = a.H / a.K;
  float* delta = scratch_.floats(a.M * a.B * a.H * a.T);
  pool_.parallel_for(a.M * a.B * a.H, [&](int64_t mbh, int) {
    const int64_t mb = mbh / a.H, h = mbh % a.H;
    for (int64_t t = 0; t < a.T; t++) {
      const int64_t row = ((mb * a.T + t) * a.H + h) * a.D;
      delta[mbh * a.T + t] = dot(dout + row, out + row, a.D);
    }
  });
  const int64_t space = round_up(backward_workspace(a.D), 16), share = a.T * a.D;
  float* spaces = scratch_.floats(space * pool_.threads());
  float* dk_shares = scratch_.floats(a.M * a.B * a.H * share);
  float* dv_shares = scratch_.floats(a.M * a.B * a.H * share);
  pool_.parallel_for(a.M * a.B * a.H, [&](int64_t mbh, int worker) {
    const int64_t mb = mbh / a.H, h = mbh % a.H;
    const int64_t row = (mb * a.T * a.H + h) * a.D, key = (mb * a.T * a.K + h / heads) * a.D;
    backward_head(dq + row, dk_shares + mbh * share, dv_shares + mbh * share, dout + row, lse + mbh * a.T,
                  delta + mbh * a.T, q + row, k + key, v + key, {spaces + worker * space}, a);
  });
  pool_.parallel_for(a.M * a.B * a.K, [&](int64_t group, int) {
    const int64_t mb = group / a.K, kv = group % a.K, key = (mb * a.T * a.K + kv) * a.D;
    add_heads(dk + key, dk_shares + (mb * a.H + kv * heads) * share, heads, a);
    add_heads(dv + key, dv_shares + (mb * a.H + kv * heads) * share, heads, a);
  });
}

}  // namespace bts::cpu::BTS_ISA
