// Both stitch layers, forward and backward, against loops over their formulas: channel and scalar gates, bias, dropout,
// one to seventeen members, odd sizes.
#include "../../../native/error.h"
#include "check.h"

namespace bts::check {

namespace {

// Philox4x32-10 as its authors write it: word i % 4 of block i / 4 belongs to element i.
uint32_t random_word(uint64_t seed, uint64_t i) {
  uint32_t x[4] = {uint32_t(i / 4), uint32_t(i / 4 >> 32), 0, 0}, key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
  for (int round = 0; round < 10; round++, key[0] += 0x9E3779B9u, key[1] += 0xBB67AE85u) {
    const uint64_t a = uint64_t{0xD2511F53u} * x[0], b = uint64_t{0xCD9E8D57u} * x[2];
    const uint32_t next[4] = {uint32_t(b >> 32) ^ x[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ x[3] ^ key[1],
                              uint32_t(a)};
    std::copy(next, next + 4, x);
  }
  return x[i % 4];
}

struct Case {
  int M, N, C, G;
  bool into_hub, bias;
  float rate;
};

// The formulas of native/ops/experts_into_hub.h and hub_into_experts.h in S: double for the exact result; float, rounded
// wherever a tensor is written, for what a plain implementation in the kernels' precision would give.
template <class S>
struct Formulas {
  const Case& k;
  const std::vector<float>&h, &gate_weight, &gate_bias;
  const std::vector<std::vector<float>>& proj;

  static S tensor(S x) {
    if constexpr (std::is_same_v<S, float>) return rounded<act>(x);
    return x;
  }
  int at(int n, int m, int c) const { return (n * k.M + m) * k.G + (k.G == 1 ? 0 : c); }
  S keep(int index) const {
    if (k.rate == 0) return 1;
    return random_word(77, index) < k.rate * 0x1p32 ? 0 : 1 / (1 - k.rate);
  }
  const float* input(int e) const { return h.data() + (k.into_hub ? e + 1 : 0) * k.N * k.C; }

  std::vector<S> out, gates, projected;
  void forward() {
    const int first = k.into_hub ? 0 : 1, NC = k.N * k.C;
    gates.assign(k.N * k.M * k.G, 0);
    projected.assign((k.M - 1) * NC, 0);
    out.assign(k.into_hub ? NC : k.M * NC, 0);
    for (int n = 0; n < k.N; n++) {
      for (int g = 0; g < k.G; g++) {
        std::vector<S> z(k.M);
        S sum = 0, top = -INFINITY;
        for (int m = first; m < k.M; m++) {
          for (int c = 0; c < k.C; c++) z[m] += S{h[n * k.C + c]} * gate_weight[(m * k.G + g) * k.C + c];
          if (k.bias) z[m] += gate_bias[m * k.G + g];
          z[m] *= keep((n * k.M + m) * k.G + g);
          top = std::max(top, z[m]);
        }
        for (int m = first; m < k.M; m++) sum += std::exp(z[m] - top);
        for (int m = first; m < k.M; m++)
          gates[(n * k.M + m) * k.G + g] = k.into_hub ? std::exp(z[m] - top) / sum : 1 / (1 + std::exp(-z[m]));
      }
      for (int e = 0; e + 1 < k.M; e++)
        for (int o = 0; o < k.C; o++) {
          S sum = 0;
          for (int c = 0; c < k.C; c++) sum += S{input(e)[n * k.C + c]} * proj[e][o * k.C + c];
          projected[e * NC + n * k.C + o] = sum;
        }
      for (int c = 0; c < k.C; c++) {
        const int i = n * k.C + c;
        if (k.into_hub) {
          out[i] = gates[at(n, 0, c)] * h[i];
          for (int m = 1; m < k.M; m++) out[i] += gates[at(n, m, c)] * projected[(m - 1) * NC + i];
        } else {
          out[i] = h[i];
          for (int m = 1; m < k.M; m++)
            out[m * NC + i] =
                (1 - gates[at(n, m, c)]) * h[m * NC + i] + gates[at(n, m, c)] * projected[(m - 1) * NC + i];
        }
      }
    }
    for (auto* list : {&out, &gates, &projected})
      for (auto& x : *list) x = tensor(x);
  }

  std::vector<S> dh, dgate_weight, dgate_bias;
  std::vector<std::vector<S>> dproj;
  void backward(const std::vector<float>& dout, const std::vector<float>& dprojected, const std::vector<float>& g,
                const std::vector<float>& p) {
    const int first = k.into_hub ? 0 : 1, NC = k.N * k.C;
    std::vector<S> dz(k.N * k.M * k.G), dp((k.M - 1) * NC), direct(k.M * NC);
    for (int n = 0; n < k.N; n++) {
      for (int c = 0; c < k.C; c++) {
        const int i = n * k.C + c;
        if (!k.into_hub) direct[i] = dout[i];
        if (k.into_hub) direct[i] = S{g[at(n, 0, c)]} * dout[i];
        for (int m = 0; m < k.M; m++) {
          const S x = m ? p[(m - 1) * NC + i] : h[i], own = h[m * NC + i], d = dout[k.into_hub ? i : m * NC + i];
          if (k.into_hub) {
            dz[at(n, m, c)] += d * x;
            if (m) dp[(m - 1) * NC + i] = S{g[at(n, m, c)]} * d + dprojected[(m - 1) * NC + i];
          } else if (m) {
            dz[at(n, m, c)] += d * (x - own);
            dp[(m - 1) * NC + i] = S{g[at(n, m, c)]} * d;
            direct[m * NC + i] = d - S{g[at(n, m, c)]} * d;
          }
        }
      }
      for (int c = 0; c < k.G; c++) {
        S centre = 0;
        for (int m = 0; m < k.M; m++) centre += g[at(n, m, c)] * dz[at(n, m, c)];
        for (int m = 0; m < k.M; m++) {
          S& d = dz[at(n, m, c)];
          const S gate = g[at(n, m, c)];
          d = k.into_hub ? gate * (d - centre) : d * gate * (1 - gate);
          d = tensor(d * keep(at(n, m, c)));
        }
      }
    }
    for (auto& x : dp) x = tensor(x);
    dgate_weight.assign(k.M * k.G * k.C, 0);
    dgate_bias.assign(k.M * k.G, 0);
    dproj.assign(k.M - 1, std::vector<S>(k.C * k.C));
    dh = direct;
    for (int n = 0; n < k.N; n++) {
      for (int m = first; m < k.M; m++)
        for (int g = 0; g < k.G; g++) {
          const S d = dz[(n * k.M + m) * k.G + g];
          dgate_bias[m * k.G + g] += d;
          for (int c = 0; c < k.C; c++) {
            dgate_weight[(m * k.G + g) * k.C + c] += d * h[n * k.C + c];
            dh[n * k.C + c] += d * gate_weight[(m * k.G + g) * k.C + c];
          }
        }
      for (int e = 0; e + 1 < k.M; e++)
        for (int o = 0; o < k.C; o++) {
          const S d = dp[e * NC + n * k.C + o];
          for (int c = 0; c < k.C; c++) {
            dproj[e][o * k.C + c] += d * input(e)[n * k.C + c];
            dh[((k.into_hub ? e + 1 : 0) * k.N + n) * k.C + c] += d * proj[e][o * k.C + c];
          }
        }
    }
    for (auto& x : dh) x = tensor(x);
  }
};

void layer(const Case& k) {
  const std::string name = std::string("stitch " BTS_PRECISION_NAME) + (k.into_hub ? "into hub" : "into experts") +
                           " M " + std::to_string(k.M) + ", N " + std::to_string(k.N) + ", C " + std::to_string(k.C) +
                           (k.G == 1 ? ", scalar" : "") + (k.bias ? ", bias" : "") + (k.rate > 0 ? ", dropout" : "");
  if (!wanted(name, 3.0 * (2 * k.M - 1) * k.N * k.C * k.C)) return;
  const int NC = k.N * k.C, E = k.M - 1;
  // Weights that act holds exactly: the rounding of f32 masters is no error of the kernel.
  const auto h = numbers<act>(k.M * NC, 1), gate_weight = numbers<act>(k.M * k.G * k.C, 2, 0.5f),
             gate_bias = numbers<float>(k.M * k.G, 3), dprojected = numbers<act>(E * NC, 4),
             dout = numbers<act>(k.into_hub ? NC : k.M * NC, 5);
  std::vector<std::vector<float>> proj;
  std::vector<DeviceWeight> device_proj;
  std::vector<Weight> proj_list;
  std::vector<Device<float>> dproj;
  std::vector<float*> dproj_list;
  for (int e = 0; e < E; e++) {
    proj.push_back(numbers<act>(k.C * k.C, 20 + e, 0.5f));
    device_proj.emplace_back(proj.back(), DType::F32);
    proj_list.push_back(device_proj.back().weight());
    dproj.emplace_back(std::vector<float>(k.C * k.C));
    dproj_list.push_back(dproj.back().get());
  }
  Device<act> device_h(h), device_dout(dout), device_dprojected(dprojected), out(dout.size()), gates(k.N * k.M * k.G),
      projected(E * NC), dh(k.M * NC);
  Device<float> device_gate_weight(gate_weight), device_gate_bias(gate_bias),
      dgate_weight(std::vector<float>(gate_weight.size())), dgate_bias(std::vector<float>(gate_bias.size()));
  const float* bias = k.bias ? device_gate_bias.get() : nullptr;
  float* dbias = k.bias ? dgate_bias.get() : nullptr;
  const StitchSize size{k.M, k.N, k.C, k.G, {k.rate, 77}};
  const auto ops = make_ops();
  if (k.into_hub) {
    ops->run(ExpertsIntoHubForward{.h = device_h.get(),
                                   .gate_weight = device_gate_weight.get(),
                                   .gate_bias = bias,
                                   .proj = proj_list,
                                   .hub = out.get(),
                                   .gates = gates.get(),
                                   .projected = projected.get(),
                                   .size = size});
    ops->run(ExpertsIntoHubBackward{.dhub = device_dout.get(),
                                    .dprojected = device_dprojected.get(),
                                    .h = device_h.get(),
                                    .gates = gates.get(),
                                    .projected = projected.get(),
                                    .gate_weight = device_gate_weight.get(),
                                    .proj = proj_list,
                                    .dh = dh.get(),
                                    .dgate_weight = dgate_weight.get(),
                                    .dgate_bias = dbias,
                                    .dproj = dproj_list,
                                    .size = size});
  } else {
    ops->run(HubIntoExpertsForward{.h = device_h.get(),
                                   .gate_weight = device_gate_weight.get(),
                                   .gate_bias = bias,
                                   .proj = proj_list,
                                   .out = out.get(),
                                   .gates = gates.get(),
                                   .projected = projected.get(),
                                   .size = size});
    ops->run(HubIntoExpertsBackward{.dout = device_dout.get(),
                                    .h = device_h.get(),
                                    .gates = gates.get(),
                                    .projected = projected.get(),
                                    .gate_weight = device_gate_weight.get(),
                                    .proj = proj_list,
                                    .dh = dh.get(),
                                    .dgate_weight = dgate_weight.get(),
                                    .dgate_bias = dbias,
                                    .dproj = dproj_list,
                                    .size = size});
  }
  Formulas<double> exact{k, h, gate_weight, gate_bias, proj, {}, {}, {}, {}, {}, {}, {}};
  Formulas<float> plain{k, h, gate_weight, gate_bias, proj, {}, {}, {}, {}, {}, {}, {}};
  exact.forward();
  plain.forward();
  compare<act>(name + " out", out.read(), plain.out, exact.out);
  compare<act>(name + " gates", gates.read(), plain.gates, exact.gates);
  compare<act>(name + " projected", projected.read(), plain.projected, exact.projected);
  exact.backward(dout, dprojected, gates.read(), projected.read());
  plain.backward(dout, dprojected, gates.read(), projected.read());
  compare<act>(name + " dh", dh.read(), plain.dh, exact.dh);
  compare<float>(name + " dgate_weight", dgate_weight.read(), plain.dgate_weight, exact.dgate_weight);
  if (k.bias) compare<float>(name + " dgate_bias", dgate_bias.read(), plain.dgate_bias, exact.dgate_bias);
  for (int e = 0; e < E; e++) compare<float>(name + " dproj", dproj[e].read(), plain.dproj[e], exact.dproj[e]);
}

// More members than a kernel holds are refused, with the number in the message.
void too_many() {
  const std::string name = "stitch " BTS_PRECISION_NAME "refuses 17 members";
  if (!wanted(name)) return;
  const auto ops = make_ops();
  try {
    ops->run(ExpertsIntoHubForward{.h = nullptr,
                                   .gate_weight = nullptr,
                                   .gate_bias = nullptr,
                                   .proj = {},
                                   .hub = nullptr,
                                   .gates = nullptr,
                                   .projected = nullptr,
                                   .size = {17, 1, 8, 8, {0, 0}}});
    failures++;
    std::printf("FAIL %s\n", name.c_str());
  } catch (const Error& error) {
    if (!std::strstr(error.what(), "17")) failures++, std::printf("FAIL %s: %s\n", name.c_str(), error.what());
  }
}

void run() {
  for (const bool into_hub : {true, false}) {
    for (int M = 1; M <= 5; M++) {
      layer({M, 40, 64, 64, into_hub, M % 2 == 0, M == 3 ? 0.25f : 0});
      layer({M, 33, 40, 1, into_hub, M % 2 == 1, M == 2 ? 0.25f : 0});
    }
    for (const int size : {1, 31, 33, 123}) layer({2, size, size, size, into_hub, true, 0.5f});
    layer({9, 40, 40, 40, into_hub, true, 0.25f});
    layer({3, 300, 136, 136, into_hub, true, 0});  // several tiles for each block, several bands
  }
  too_many();
}

const Family family(run);

}  // namespace

}  // namespace bts::check
