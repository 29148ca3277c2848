// Attention by blocks with a running softmax (Dao et al., FlashAttention): memory is linear in the sequence, no T x T
// matrix exists. Few queries (decoding) stream over the cache instead, once for all heads of a group.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu_ops.h"
#include "gemm.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kQueryBlock = (48 + kTileRows - 1) / kTileRows * kTileRows;
constexpr int64_t kKeyBlock = 128;
static_assert(kKeyBlock % kTileCols == 0);
constexpr int64_t kStreamQueries = 4;

struct Range {
  int64_t first, last;  // last is excluded
};

// The keys that the query at `position` sees.
inline Range visible(const Attention& a, int64_t position) {
  return {a.window > 0 ? std::max<int64_t>(0, position - a.window + 1) : 0, position + 1};
}

// The part of block [first, first + count) that a query sees, as offsets into the block.
inline Range visible_in(const Attention& a, int64_t position, int64_t first, int64_t count) {
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
    const vfloat e = exp(load(x + i) - shift);
    store(x + i, e);
    acc += e;
  }
  float sum = reduce_add(acc);
  for (; i < n; i++) sum += x[i] = exp(x[i] - shift);
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

// All heads of one group, T queries, against the cache of one sequence.
void stream_group(float* out, float* lse, const float* q, const float* k, const float* v, float* scores,
                  const Attention& a, int64_t start) {
  const int64_t heads = a.H / a.K;
  const float scale = 1 / std::sqrt(static_cast<float>(a.D));
  const Range keys{visible(a, start).first, start + a.T};
  for (int64_t j = keys.first; j < keys.last; j++)
    for (int64_t t = 0; t < a.T; t++)
      for (int64_t h = 0; h < heads; h++)
        scores[(t * heads + h) * a.S + j] = scale * dot(q + (t * a.H + h) * a.D, k + j * a.K * a.D, a.D);
  for (int64_t t = 0; t < a.T; t++)
    for (int64_t h = 0; h < heads; h++) {
      float* row = scores + (t * heads + h) * a.S;
      const Range seen = visible(a, start + t);
      const int64_t n = seen.last - seen.first;
      const float top = max_row(row + seen.first, n);
      const float sum = exp_row(row + seen.first, top, n);
      scale_row(row + seen.first, 1 / sum, n);
      if (lse) lse[h * a.T + t] = top + std::log(sum);
      std::fill_n(out + (t * a.H + h) * a.D, a.D, 0.0f);
    }
  for (int64_t j = keys.first; j < keys.last; j++)
    for (int64_t t = 0; t < a.T; t++) {
      const Range seen = visible(a, start + t);
      if (j < seen.first || j >= seen.last) continue;
      for (int64_t h = 0; h < heads; h++) {
        const float p = scores[(t * heads + h) * a.S + j];
        float* row = out + (t * a.H + h) * a.D;
        const float* value = v + j * a.K * a.D;
        for (int64_t d = 0; d < a.D; d++) row[d] += p * value[d];
      }
    }
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

int64_t forward_workspace(int64_t D) {
  return packed_rows_size(kQueryBlock, D) + packed_rows_size(kQueryBlock, kKeyBlock) + kQueryBlock * kKeyBlock + 64;
}

// One block of queries of one head. packed_k and packed_v hold all key blocks of the head's group.
void forward_block(float* out, float* lse, const float* q, const float* packed_k, const float* packed_v,
                   Workspace space, const Attention& a, int64_t start, int64_t t0) {
  const int64_t rows = std::min(kQueryBlock, a.T - t0), stride = a.H * a.D;
  float* packed_q = space.take(packed_rows_size(kQueryBlock, a.D));
  float* packed_p = space.take(packed_rows_size(kQueryBlock, kKeyBlock));
  float* scores = space.take(kQueryBlock * kKeyBlock);
  float top[kQueryBlock], sum[kQueryBlock];
  std::fill_n(top, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(sum, rows, 0.0f);
  for (int64_t i = 0; i < rows; i++) std::fill_n(out + (t0 + i) * stride, a.D, 0.0f);
  pack_rows(packed_q, row_major(q + t0 * stride, stride), {0, rows, 0, a.D}, 1 / std::sqrt(static_cast<float>(a.D)));

  const int64_t first = visible(a, start + t0).first / kKeyBlock * kKeyBlock, last = start + t0 + rows;
  for (int64_t j = first; j < last; j += kKeyBlock) {
    const int64_t keys = std::min(kKeyBlock, last - j);
    const float* block_k = packed_k + j * a.D;
    const float* block_v = packed_v + (j / kKeyBlock) * packed_cols_size(a.D, kKeyBlock);
    multiply_packed(scores, kKeyBlock, packed_q, block_k, rows, keys, a.D, false);
    for (int64_t i = 0; i < rows; i++) {
      float* row = scores + i * kKeyBlock;
      const Range seen = visible_in(a, start + t0 + i, j, keys);
      std::fill_n(row, seen.first, 0.0f);
      std::fill(row + seen.last, row + kKeyBlock, 0.0f);
      if (seen.first == seen.last) continue;
      const float now = std::max(max_row(row + seen.first, seen.last - seen.first), top[i]);
      const float part = exp_row(row + seen.first, now, seen.last - seen.first);
      if (now != top[i]) {
        const float shrink = exp(top[i] - now);
        sum[i] *= shrink;
        scale_row(out + (t0 + i) * stride, shrink, a.D);
        top[i] = now;
      }
      sum[i] += part;
    }
    pack_rows(packed_p, row_major(scores, kKeyBlock), {0, rows, 0, kKeyBlock});
    multiply_packed(out + t0 * stride, stride, packed_p, block_v, rows, a.D, kKeyBlock, true);
  }
  for (int64_t i = 0; i < rows; i++) {
    scale_row(out + (t0 + i) * stride, 1 / sum[i], a.D);
    if (lse) lse[t0 + i] = top[i] + std::log(sum[i]);
  }
}

// Packs a block of keys or values as the right operand with depth kKeyBlock; rows past the end are zero.
void pack_block(float* packed, const float* x, int64_t stride, int64_t keys, int64_t D) {
  if (keys < kKeyBlock) std::fill_n(packed, packed_cols_size(D, kKeyBlock), 0.0f);
  for (int64_t d = 0; d < D; d += kTileCols)
    for (int64_t j = 0; j < keys; j++) {
      float* line = packed + d * kKeyBlock + j * kTileCols;
      const int64_t n = std::min<int64_t>(kTileCols, D - d);
      std::copy_n(x + j * stride + d, n, line);
      std::fill(line + n, line + kTileCols, 0.0f);
    }
}

int64_t backward_workspace(int64_t D) {
  return 2 * packed_cols_size(kKeyBlock, D) + packed_cols_size(D, kKeyBlock) + 2 * packed_rows_size(kQueryBlock, D) +
         2 * packed_cols_size(D, kQueryBlock) + packed_rows_size(kQueryBlock, kKeyBlock) +
         packed_rows_size(kKeyBlock, kQueryBlock) + 2 * kQueryBlock * kKeyBlock + 256;
}

// All heads of one group: keys outermost, so that dk and dv of a block are finished before the next.
void backward_group(float* dq, float* dk, float* dv, const float* dout, const float* lse, const float* delta,
                    const float* q, const float* k, const float* v, Workspace space, const Attention& a) {
  const int64_t heads = a.H / a.K, D = a.D, stride = a.H * D, key_stride = a.K * D;
  const float scale = 1 / std::sqrt(static_cast<float>(D));
  float* k_right = space.take(packed_cols_size(kKeyBlock, D));  // K^T: depth D
  float* v_right = space.take(packed_cols_size(kKeyBlock, D));  // V^T: depth D
  float* k_lower = space.take(packed_cols_size(D, kKeyBlock));  // K: depth kKeyBlock
  float* q_left = space.take(packed_rows_size(kQueryBlock, D));
  float* dout_left = space.take(packed_rows_size(kQueryBlock, D));
  float* q_right = space.take(packed_cols_size(D, kQueryBlock));
  float* dout_right = space.take(packed_cols_size(D, kQueryBlock));
  float* left = space.take(packed_rows_size(kQueryBlock, kKeyBlock));
  float* left_transposed = space.take(packed_rows_size(kKeyBlock, kQueryBlock));
  float* p = space.take(kQueryBlock * kKeyBlock);
  float* ds = space.take(kQueryBlock * kKeyBlock);
  for (int64_t t = 0; t < a.T; t++) {
    std::fill_n(dq + t * stride, heads * D, 0.0f);
    std::fill_n(dk + t * key_stride, D, 0.0f);
    std::fill_n(dv + t * key_stride, D, 0.0f);
  }
  for (int64_t j = 0; j < a.T; j += kKeyBlock) {
    const int64_t keys = std::min(kKeyBlock, a.T - j);
    pack_cols(k_right, transposed(k + j * key_stride, key_stride), {0, keys, 0, D});
    pack_cols(v_right, transposed(v + j * key_stride, key_stride), {0, keys, 0, D});
    pack_block(k_lower, k + j * key_stride, key_stride, keys, D);
    // The first block of queries that may see key j, and the last: later ones have it behind their window.
    const int64_t t_end = a.window > 0 ? std::min(a.T, j + keys - 1 + a.window) : a.T;
    for (int64_t h = 0; h < heads; h++) {
      const float *qh = q + h * D, *douth = dout + h * D;
      for (int64_t t0 = j / kQueryBlock * kQueryBlock; t0 < t_end; t0 += kQueryBlock) {
        const int64_t rows = std::min(kQueryBlock, a.T - t0);
        pack_rows(q_left, row_major(qh + t0 * stride, stride), {0, rows, 0, D}, scale);
        pack_rows(dout_left, row_major(douth + t0 * stride, stride), {0, rows, 0, D});
        pack_cols(q_right, row_major(qh + t0 * stride, stride), {0, D, 0, rows});
        pack_cols(dout_right, row_major(douth + t0 * stride, stride), {0, D, 0, rows});
        multiply_packed(p, kKeyBlock, q_left, k_right, rows, keys, D, false);
        multiply_packed(ds, kKeyBlock, dout_left, v_right, rows, keys, D, false);
        for (int64_t i = 0; i < rows; i++) {
          // forward: p = exp(q k^T * scale - lse); out = p v.  ds = p (dout v^T - dout . out)
          const Range seen = visible_in(a, t0 + i, j, keys);
          float *pi = p + i * kKeyBlock, *dsi = ds + i * kKeyBlock;
          std::fill_n(pi, seen.first, 0.0f);
          std::fill(pi + seen.last, pi + kKeyBlock, 0.0f);
          std::fill_n(dsi, seen.first, 0.0f);
          std::fill(dsi + seen.last, dsi + kKeyBlock, 0.0f);
          exp_row(pi + seen.first, lse[h * a.T + t0 + i], seen.last - seen.first);
          const float centre = delta[h * a.T + t0 + i];
          for (int64_t c = seen.first; c < seen.last; c++) dsi[c] = pi[c] * (dsi[c] - centre) * scale;
        }
        pack_rows(left, row_major(ds, kKeyBlock), {0, rows, 0, kKeyBlock});
        multiply_packed(dq + h * D + t0 * stride, stride, left, k_lower, rows, D, kKeyBlock, true);
        pack_rows(left_transposed, transposed(ds, kKeyBlock), {0, keys, 0, rows});
        multiply_packed(dk + j * key_stride, key_stride, left_transposed, q_right, keys, D, rows, true);
        pack_rows(left_transposed, transposed(p, kKeyBlock), {0, keys, 0, rows});
        multiply_packed(dv + j * key_stride, key_stride, left_transposed, dout_right, keys, D, rows, true);
      }
    }
  }
}

}  // namespace

void CpuOps::attention_forward(float* out, float* lse, const float* q, const float* k, const float* v,
                               const int32_t* starts, const Attention& a) {
  scratch_.reset();
  const int64_t groups = a.M * a.B * a.K, heads = a.H / a.K;
  const auto start_of = [&](int64_t b) -> int64_t { return starts ? starts[b] : 0; };
  if (a.T <= kStreamQueries) {
    const int64_t rows = a.T * heads * a.S;
    float* scores = scratch_.floats(rows * pool_.threads());
    pool_.parallel_for(groups, [&](int64_t group, int worker) {
      const int64_t mb = group / a.K, kv = group % a.K, head = kv * heads;
      stream_group(out + (mb * a.T * a.H + head) * a.D, lse ? lse + (mb * a.H + head) * a.T : nullptr,
                   q + (mb * a.T * a.H + head) * a.D, k + (mb * a.S * a.K + kv) * a.D, v + (mb * a.S * a.K + kv) * a.D,
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
    const int64_t from = (mb * a.S * a.K + kv) * a.D + j * stride;
    pack_cols(packed_k + group * k_size + j * a.D, transposed(k + from, stride), {0, keys, 0, a.D});
    pack_block(packed_v + group * v_size + j / kKeyBlock * v_block, v + from, stride, keys, a.D);
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

void CpuOps::attention_backward(float* dq, float* dk, float* dv, const float* dout, const float* out, const float* lse,
                                const float* q, const float* k, const float* v, const Attention& a) {
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
  const int64_t space = round_up(backward_workspace(a.D), 16);
  float* spaces = scratch_.floats(space * pool_.threads());
  pool_.parallel_for(a.M * a.B * a.K, [&](int64_t group, int worker) {
    const int64_t mb = group / a.K, kv = group % a.K, head = kv * heads;
    const int64_t row = (mb * a.T * a.H + head) * a.D, key = (mb * a.T * a.K + kv) * a.D;
    const int64_t statistics = (mb * a.H + head) * a.T;
    backward_group(dq + row, dk + key, dv + key, dout + row, lse + statistics, delta + statistics, q + row, k + key,
                   v + key, {spaces + worker * space}, a);
  });
}

}  // namespace bts::cpu::BTS_ISA
