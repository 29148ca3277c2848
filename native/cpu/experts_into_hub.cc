#include <algorithm>
#include <cmath>
#include <vector>

#include "stitch.h"

namespace bts::cpu::BTS_ISA {

namespace {

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

}  // namespace bts::cpu::BTS_ISA
