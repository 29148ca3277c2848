// Both stitch layers. A gate of width G = C weighs every channel, one of width 1 the whole token; the loops below read
// gate (n, m, c) at column c mod G.
#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu_ops.h"
#include "drop.h"
#include "gemm/gemm.h"

namespace bts::cpu::BTS_ISA {

namespace {

constexpr int64_t kRowBlock = 16;

// Runs f(n) for all rows, several to a task.
template <class F>
void for_rows(ThreadPool& pool, int64_t N, F&& f) {
  pool.parallel_for((N + kRowBlock - 1) / kRowBlock, [&](int64_t block, int) {
    for (int64_t n = block * kRowBlock; n < std::min(N, (block + 1) * kRowBlock); n++) f(n);
  });
}

// z [N,M,G] = h_0 Wg^T for the members first..M-1; bias and dropout follow in the epilogue.
Product gate_product(float* z, const float* h, const float* weight, const StitchSize& s, int64_t first) {
  const int64_t skip = first * s.G;
  return {.a = row_major(h, s.C),
          .b = transposed(weight + skip * s.C, s.C),
          .c = z + skip,
          .c_stride = s.M * s.G,
          .rows = s.N,
          .cols = (s.M - first) * s.G,
          .depth = s.C};
}

// p_e = x_e W_e^T
Product projection(float* p, const float* x, const Weight& weight, const StitchSize& s) {
  return {
      .a = row_major(x, s.C), .b = {weight, 1, s.C}, .c = p, .c_stride = s.C, .rows = s.N, .cols = s.C, .depth = s.C};
}

// z += bias, then dropout: the gate logits of one row as the nonlinearity sees them.
void finish_logits(float* z, const float* bias, const StitchSize& s, int64_t n, int64_t first) {
  const int64_t from = first * s.G, count = s.M * s.G - from;
  if (bias)
    for (int64_t i = from; i < from + count; i++) z[i] += bias[i];
  if (s.dropout.below > 0) drop(z + from, z + from, s.dropout, n * s.M * s.G + from, count);
}

// The gradient of finish_logits, in place.
void drop_logit_gradients(float* dz, const StitchSize& s, int64_t n) {
  if (s.dropout.below > 0) drop(dz, dz, s.dropout, n * s.M * s.G, s.M * s.G);
}

// g = softmax over m of z[m,:], in place, for one row.
void softmax_members(float* z, int64_t M, int64_t G) {
  int64_t c = 0;
  for (; c + kLanes <= G; c += kLanes) {
    vfloat top = load(z + c), sum{};
    for (int64_t m = 1; m < M; m++) top = max(top, load(z + m * G + c));
    for (int64_t m = 0; m < M; m++) {
      const vfloat e = exp(load(z + m * G + c) - top);
      store(z + m * G + c, e);
      sum += e;
    }
    for (int64_t m = 0; m < M; m++) store(z + m * G + c, load(z + m * G + c) / sum);
  }
  for (; c < G; c++) {
    float top = z[c], sum = 0;
    for (int64_t m = 1; m < M; m++) top = std::max(top, z[m * G + c]);
    for (int64_t m = 0; m < M; m++) sum += z[m * G + c] = exp(z[m * G + c] - top);
    for (int64_t m = 0; m < M; m++) z[m * G + c] /= sum;
  }
}

void sigmoid_row(float* z, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(z + i, 1.0f / (1.0f + exp(-load(z + i))));
  for (; i < n; i++) z[i] = 1.0f / (1.0f + exp(-z[i]));
}

// out = or += gate * x over the channels of one row.
template <bool accumulate>
void scale_by_gate(float* out, const float* gate, const float* x, int64_t C, int64_t G) {
  if (G == 1) {
    for (int64_t c = 0; c < C; c++) out[c] = (accumulate ? out[c] : 0.0f) + gate[0] * x[c];
  } else {
    for (int64_t c = 0; c < C; c++) out[c] = (accumulate ? out[c] : 0.0f) + gate[c] * x[c];
  }
}

// dg = da * x, summed over the channels where one gate serves them all.
void gate_gradient(float* dg, const float* da, const float* x, int64_t C, int64_t G) {
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
void weight_products(std::vector<Product>& products, float* dgate_weight, Gradients dproj, const float* dz,
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

void add_bias_gradient(float* dbias, const float* dz, const StitchSize& s) {
  if (!dbias) return;
  for (int64_t n = 0; n < s.N; n++)
    for (int64_t i = 0; i < s.M * s.G; i++) dbias[i] += dz[n * s.M * s.G + i];
}

// dh_0 += dz Wg
Product gate_input_product(float* dh, const float* dz, const float* weight, const StitchSize& s) {
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
Product projection_input_product(float* dx, const float* dp, const Weight& weight, const StitchSize& s,
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

}  // namespace

void CpuOps::run(const ExpertsIntoHubForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, hub, gates, projected, s] = op;
  scratch_.reset();
  const int64_t NC = s.N * s.C;
  std::vector<Product> products{gate_product(gates, h, gate_weight, s, 0)};
  for (size_t e = 0; e < proj.size(); e++)
    products.push_back(projection(projected + e * NC, h + (e + 1) * NC, proj[e], s));
  multiply(products, precision_, pool_, scratch_);
  for_rows(pool_, s.N, [&](int64_t n) {
    float* g = gates + n * s.M * s.G;
    finish_logits(g, gate_bias, s, n, 0);
    softmax_members(g, s.M, s.G);
    scale_by_gate<false>(hub + n * s.C, g, h + n * s.C, s.C, s.G);
    for (int64_t e = 0; e + 1 < s.M; e++)
      scale_by_gate<true>(hub + n * s.C, g + (e + 1) * s.G, projected + e * NC + n * s.C, s.C, s.G);
  });
}

void CpuOps::run(const ExpertsIntoHubBackward& op) {
  const auto& [dhub, dprojected, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, s] = op;
  scratch_.reset();
  const int64_t NC = s.N * s.C, E = s.M - 1;
  float* dz = scratch_.floats(s.N * s.M * s.G);
  float* dp = scratch_.floats(E * NC);
  for_rows(pool_, s.N, [&](int64_t n) {
    const float *g = gates + n * s.M * s.G, *dout = dhub + n * s.C;
    float* dg = dz + n * s.M * s.G;
    // forward: hub = g_0 h_0 + sum g_e p_e
    gate_gradient(dg, dout, h + n * s.C, s.C, s.G);
    if (dh) scale_by_gate<false>(dh + n * s.C, g, dout, s.C, s.G);
    for (int64_t e = 0; e < E; e++) {
      const int64_t at = e * NC + n * s.C;
      gate_gradient(dg + (e + 1) * s.G, dout, projected + at, s.C, s.G);
      scale_by_gate<false>(dp + at, g + (e + 1) * s.G, dout, s.C, s.G);
      if (dprojected)
        for (int64_t c = 0; c < s.C; c++) dp[at + c] += dprojected[at + c];
    }
    // forward: g = softmax(z)
    for (int64_t c = 0; c < s.G; c++) {
      float centre = 0;
      for (int64_t m = 0; m < s.M; m++) centre += g[m * s.G + c] * dg[m * s.G + c];
      for (int64_t m = 0; m < s.M; m++) dg[m * s.G + c] = g[m * s.G + c] * (dg[m * s.G + c] - centre);
    }
    drop_logit_gradients(dg, s, n);
  });
  std::vector<Product> products;
  weight_products(products, dgate_weight, dproj, dz, dp, h, false, s);
  if (dh) {
    products.push_back(gate_input_product(dh, dz, gate_weight, s));
    for (int64_t e = 0; e < E; e++)
      products.push_back(projection_input_product(dh + (e + 1) * NC, dp + e * NC, proj[e], s, false));
  }
  multiply(products, precision_, pool_, scratch_);
  add_bias_gradient(dgate_bias, dz, s);
}

void CpuOps::run(const HubIntoExpertsForward& op) {
  const auto& [h, gate_weight, gate_bias, proj, out, gates, projected, s] = op;
  scratch_.reset();
  const int64_t NC = s.N * s.C;
  std::vector<Product> products{gate_product(gates, h, gate_weight, s, 1)};
  for (size_t e = 0; e < proj.size(); e++) products.push_back(projection(projected + e * NC, h, proj[e], s));
  multiply(products, precision_, pool_, scratch_);
  for_rows(pool_, s.N, [&](int64_t n) {
    float* g = gates + n * s.M * s.G;
    std::fill_n(g, s.G, 0.0f);
    finish_logits(g, gate_bias, s, n, 1);
    sigmoid_row(g + s.G, (s.M - 1) * s.G);
    std::copy_n(h + n * s.C, s.C, out + n * s.C);
    for (int64_t e = 0; e + 1 < s.M; e++) {
      const float *gate = g + (e + 1) * s.G, *own = h + (e + 1) * NC + n * s.C, *p = projected + e * NC + n * s.C;
      float* to = out + (e + 1) * NC + n * s.C;
      const bool scalar = s.G == 1;
      for (int64_t c = 0; c < s.C; c++) to[c] = own[c] + gate[scalar ? 0 : c] * (p[c] - own[c]);
    }
  });
}

void CpuOps::run(const HubIntoExpertsBackward& op) {
  const auto& [dout, h, gates, projected, gate_weight, proj, dh, dgate_weight, dgate_bias, dproj, s] = op;
  scratch_.reset();
  const int64_t NC = s.N * s.C, E = s.M - 1;
  float* dz = scratch_.floats(s.N * s.M * s.G);
  float* dp = scratch_.floats(E * NC);
  for_rows(pool_, s.N, [&](int64_t n) {
    const float* g = gates + n * s.M * s.G;
    float* dg = dz + n * s.M * s.G;
    std::fill_n(dg, s.G, 0.0f);
    // forward: out_0 = h_0
    if (dh) std::copy_n(dout + n * s.C, s.C, dh + n * s.C);
    for (int64_t e = 0; e < E; e++) {
      // forward: out_e = h_e + g (p_e - h_e);  g = sigmoid(z)
      const float *gate = g + (e + 1) * s.G, *dy = dout + (e + 1) * NC + n * s.C, *own = h + (e + 1) * NC + n * s.C;
      const float* p = projected + e * NC + n * s.C;
      float* dpe = dp + e * NC + n * s.C;
      float* dge = dg + (e + 1) * s.G;
      const bool scalar = s.G == 1;
      for (int64_t c = 0; c < s.C; c++) dpe[c] = p[c] - own[c];
      gate_gradient(dge, dy, dpe, s.C, s.G);
      for (int64_t c = 0; c < s.G; c++) dge[c] *= gate[c] * (1 - gate[c]);
      for (int64_t c = 0; c < s.C; c++) dpe[c] = gate[scalar ? 0 : c] * dy[c];
      if (dh)
        for (int64_t c = 0; c < s.C; c++) dh[(e + 1) * NC + n * s.C + c] = dy[c] - dpe[c];
    }
    drop_logit_gradients(dg, s, n);
  });
  std::vector<Product> products;
  weight_products(products, dgate_weight, dproj, dz, dp, h, true, s);
  multiply(products, precision_, pool_, scratch_);
  if (dh) {
    // All of these add to the hub's gradient, so one after the other.
    multiply(std::vector<Product>{gate_input_product(dh, dz, gate_weight, s)}, precision_, pool_, scratch_);
    for (int64_t e = 0; e < E; e++)
      multiply(std::vector<Product>{projection_input_product(dh, dp + e * NC, proj[e], s, true)}, precision_, pool_,
               scratch_);
  }
  add_bias_gradient(dgate_bias, dz, s);
}

}  // namespace bts::cpu::BTS_ISA
