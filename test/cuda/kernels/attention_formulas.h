// Loops over attention's formula, in f64 and in the precision of activations.
#pragma once

#include "check.h"

namespace bts::check::BTS_PRECISION {

template <class S>
struct Formulas {
  const AttentionSize& a;
  const std::vector<int32_t>& starts;
  const std::vector<float>&q, &k, &v;
  std::vector<S> out, lse, dq, dk, dv;

  static S tensor(S x) {
    if constexpr (std::is_same_v<S, float>) return rounded<act>(x);
    return x;
  }
  int64_t query(int64_t mb, int64_t t, int64_t h) const { return ((mb * a.T + t) * a.H + h) * a.D; }
  int64_t key(int64_t mb, int64_t j, int64_t h) const { return ((mb * a.S + j) * a.K + h / (a.H / a.K)) * a.D; }

  // Calls f with the first and last key of every query and the logarithm of its weights' sum.
  template <class F>
  void for_queries(F&& f) {
    for (int64_t mb = 0; mb < a.M * a.B; mb++)
      for (int64_t h = 0; h < a.H; h++)
        for (int64_t t = 0; t < a.T; t++) {
          const int64_t last = starts[mb % a.B] + t, first = a.window ? std::max<int64_t>(0, last - a.window + 1) : 0;
          std::vector<S> scores(last + 1);
          S top = -INFINITY, sum = 0;
          for (int64_t j = first; j <= last; j++) {
            for (int64_t d = 0; d < a.D; d++) scores[j] += S{q[query(mb, t, h) + d]} * k[key(mb, j, h) + d];
            scores[j] *= a.scale;
            if (a.softcap > 0) scores[j] = a.softcap * std::tanh(scores[j] / a.softcap);
            top = std::max(top, scores[j]);
          }
          for (int64_t j = first; j <= last; j++) sum += std::exp(scores[j] - top);
          f(mb, h, t, first, last, scores, top + std::log(sum));
        }
  }

  void forward() {
    out.assign(q.size(), 0);
    lse.assign(a.M * a.B * a.H * a.T, 0);
    for_queries([&](int64_t mb, int64_t h, int64_t t, int64_t first, int64_t last, const std::vector<S>& scores,
                    S log_sum) {
      lse[(mb * a.H + h) * a.T + t] = log_sum;
      for (int64_t d = 0; d < a.D; d++) {
        S sum = 0;
        for (int64_t j = first; j <= last; j++) sum += tensor(std::exp(scores[j] - log_sum)) * v[key(mb, j, h) + d];
        out[query(mb, t, h) + d] = tensor(sum);
      }
    });
  }

  void backward(const std::vector<float>& dout, const std::vector<float>& o) {
    dq.assign(q.size(), 0);
    dk.assign(k.size(), 0);
    dv.assign(k.size(), 0);
    for_queries([&](int64_t mb, int64_t h, int64_t t, int64_t first, int64_t last, const std::vector<S>& scores,
                    S log_sum) {
      const int64_t at = query(mb, t, h);
      S delta = 0;
      for (int64_t d = 0; d < a.D; d++) delta += S{dout[at + d]} * o[at + d];
      for (int64_t j = first; j <= last; j++) {
        const int64_t kv = key(mb, j, h);
        const S p = std::exp(scores[j] - log_sum);
        S dp = 0;
        for (int64_t d = 0; d < a.D; d++) dp += S{dout[at + d]} * v[kv + d];
        const S share = a.softcap > 0 ? scores[j] / a.softcap : 0;
        const S ds = tensor(p * (dp - delta) * a.scale * (1 - share * share));
        for (int64_t d = 0; d < a.D; d++) {
          dv[kv + d] += tensor(p) * dout[at + d];
          dk[kv + d] += ds * q[at + d];
          dq[at + d] += ds * k[kv + d];
        }
      }
    });
    for (auto* list : {&dq, &dk, &dv})
      for (auto& x : *list) x = tensor(x);
  }
};

}  // namespace bts::check::BTS_PRECISION

namespace bts::check { using BTS_PRECISION::Formulas; }  // namespace bts::check
