// What both stitch layers share. A gate of width G = C weighs every channel, one of width 1 the whole token; the loops below
// read gate (n, m, c) at column c mod G.
#pragma once

#include <algorithm>
#include <vector>

#include "cpu_ops.h"
#include "drop.h"
#include "gemm/gemm.h"

namespace bts::cpu::BTS_ISA {

constexpr int64_t kRowBlock = 16;

// Runs f(n) for all rows, several to a task.
template <class F>
inline void for_rows(ThreadPool& pool, int64_t N, F&& f) {
  pool.parallel_for((N + kRowBlock - 1) / kRowBlock, [&](int64_t block, int) {
    for (int64_t n = block * kRowBlock; n < std::min(N, (block + 1) * kRowBlock); n++) f(n);
  });
}

// z [N,M,G] = h_0 Wg^T for the members first..M-1; bias and dropout follow in the epilogue.
inline Product gate_product(float* z, const float* h, const float* weight, const StitchSize& s, int64_t first) {
  const int64_t skip = first * s.G;
  return {.a = row_major(h, s.C),
          .b = transposed(weight + skip * s.C, s.C),
          .c = z + skip,
          .c_stride = s.M * s.G,
          .rows = s.N,
          .cols = (s.M - first) * s.G,
          .depth = s.C,
          .alone = s.alone};
}

// p_e = x_e W_e^T
inline Product projection(float* p, const float* x, const Weight& weight, const StitchSize& s) {
  return {.a = row_major(x, s.C),
          .b = {weight, 1, s.C},
          .c = p,
          .c_stride = s.C,
          .rows = s.N,
          .cols = s.C,
          .depth = s.C,
          .alone = s.alone};
}

// z += bias, then dropout: the gate logits of one row as the nonlinearity sees them.
inline void finish_logits(float* z, const float* bias, const StitchSize& s, int64_t n, int64_t first) {
  const int64_t from = first * s.G, count = s.M * s.G - from;
  if (bias)
    for (int64_t i = from; i < from + count; i++) z[i] += bias[i];
  if (s.dropout.below > 0) drop(z + from, z + from, s.dropout, n * s.M * s.G + from, count);
}

// The gradient of finish_logits, in place.
inline void drop_logit_gradients(float* dz, const StitchSize& s, int64_t n) {
  if (s.dropout.below > 0) drop(dz, dz, s.dropout, n * s.M * s.G, s.M * s.G);
}

// out = or += gate * x over the channels of one row.
template <bool accumulate>
inline void scale_by_gate(float* out, const float* gate, const float* x, int64_t C, int64_t G) {
  if (G == 1) {
    for (int64_t c = 0; c < C; c++) out[c] = (accumulate ? out[c] : 0.0f) + gate[0] * x[c];
  } else {
    for (int64_t c = 0; c < C; c++) out[c] = (accumulate ? out[c] : 0.0f) + gate[c] * x[c];
  }
}

// dg = da * x, summed over the channels where one gate serves them all.
inline void gate_gradient(float* dg, const float* da, const float* x, int64_t C, int64_t G) {
  if (G == C) {
    for (int64_t c = 0; c < C; c++) dg[c] = da[c] * x[c];
    return;
  }
  vfloat acc{};
  int64_t c = 0;
  for (; c + kLanes <= C; c += kLanes) acc += load(da + c) * load(x + c);
  float sum = reduce_add(acc);
  for (; c < C; c++) sum += da[c] * x[c];
  dg[0] = sum;
}

// dW_g += dz^T h_0, dbias += sum of dz, dW_e += dp_e^T x_e.
inline void weight_products(std::vector<Product>& products, float* dgate_weight, Gradients dproj, const float* dz,
                            const float* dp, const float* h, bool from_hub, const StitchSize& s) {
  products.push_back({.a = transposed(dz, s.M * s.G),
                      .b = row_major(h, s.C),
                      .c = dgate_weight,
                      .c_stride = s.C,
                      .rows = s.M * s.G,
                      .cols = s.C,
                      .depth = s.N,
                      .accumulate = true});
  for (size_t e = 0; e < dproj.size(); e++)
    products.push_back({.a = transposed(dp + e * s.N * s.C, s.C),
                        .b = row_major(from_hub ? h : h + (e + 1) * s.N * s.C, s.C),
                        .c = dproj[e],
                        .c_stride = s.C,
                        .rows = s.C,
                        .cols = s.C,
                        .depth = s.N,
                        .accumulate = true});
}

inline void add_bias_gradient(float* dbias, const float* dz, const StitchSize& s) {
  if (!dbias) return;
  for (int64_t n = 0; n < s.N; n++)
    for (int64_t i = 0; i < s.M * s.G; i++) dbias[i] += dz[n * s.M * s.G + i];
}

// dh_0 += dz Wg
inline Product gate_input_product(float* dh, const float* dz, const float* weight, const StitchSize& s) {
  return {.a = row_major(dz, s.M * s.G),
          .b = row_major(weight, s.C),
          .c = dh,
          .c_stride = s.C,
          .rows = s.N,
          .cols = s.C,
          .depth = s.M * s.G,
          .accumulate = true};
}

// dx (+)= dp_e W_e
inline Product projection_input_product(float* dx, const float* dp, const Weight& weight, const StitchSize& s,
                                        bool accumulate) {
  return {.a = row_major(dp, s.C),
          .b = {weight, s.C, 1},
          .c = dx,
          .c_stride = s.C,
          .rows = s.N,
          .cols = s.C,
          .depth = s.C,
          .accumulate = accumulate};
}

}  // namespace bts::cpu::BTS_ISA
