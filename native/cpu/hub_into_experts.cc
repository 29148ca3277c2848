#include <algorithm>
#include <cmath>
#include <vector>

#include "stitch.h"

namespace bts::cpu::BTS_ISA {

namespace {

void sigmoid_row(float* z, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(z + i, 1.0f / (1.0f + exp(-load(z + i))));
  for (; i < n; i++) z[i] = 1.0f / (1.0f + exp(-z[i]));
}

}  // namespace

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
