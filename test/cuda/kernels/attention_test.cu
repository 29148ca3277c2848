// Causal attention, forward and backward, against loops over the formula: grouped heads, windows, caches with starts,
// splits over a long cache, odd sizes.
#include "check.h"

namespace bts::check {

namespace {

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

void attend(const AttentionSize& a, const std::vector<int32_t>& starts) {
  const std::string name = "attention " BTS_PRECISION_NAME "M " + std::to_string(a.M) + ", B " + std::to_string(a.B) +
                           ", T " + std::to_string(a.T) + ", S " + std::to_string(a.S) + ", H " + std::to_string(a.H) +
                           "/" + std::to_string(a.K) + ", D " + std::to_string(a.D) + ", window " +
                           std::to_string(a.window) + ", cap " + std::to_string(int(a.softcap));
  if (!wanted(name, 9.0 * a.M * a.B * a.T * a.S * a.H * a.D)) return;
  const int64_t queries = a.M * a.B * a.T * a.H * a.D, keys = a.M * a.B * a.S * a.K * a.D;
  const auto q = numbers<act>(queries, 1, 3), k = numbers<act>(keys, 2, 3), v = numbers<act>(keys, 3),
             dout = numbers<act>(queries, 4);
  // Slots of the cache that no query sees were never written.
  auto cached_k = k, cached_v = v;
  for (auto* cache : {&cached_k, &cached_v})
    for (int64_t mb = 0; mb < a.M * a.B; mb++)
      for (int64_t j = 0; j < a.S; j++)
        if (const int64_t start = starts[mb % a.B]; j >= start + a.T || (a.window && j <= start - a.window))
          std::fill_n(&(*cache)[(mb * a.S + j) * a.K * a.D], a.K * a.D, NAN);
  Device<act> device_q(q), device_k(cached_k), device_v(cached_v), device_dout(dout), out(queries), dq(queries),
      dk(keys), dv(keys);
  Device<float> lse(a.M * a.B * a.H * a.T);
  std::vector<float> start_bits(starts.size());
  std::memcpy(start_bits.data(), starts.data(), starts.size() * 4);
  Device<float> device_starts(start_bits);
  const bool from_zero = std::all_of(starts.begin(), starts.end(), [](int32_t s) { return s == 0; });
  const auto ops = make_ops();
  ops->run(AttentionForward{.q = device_q.get(),
                            .k = device_k.get(),
                            .v = device_v.get(),
                            .starts = from_zero ? nullptr : reinterpret_cast<const int32_t*>(device_starts.get()),
                            .out = out.get(),
                            .lse = lse.get(),
                            .size = a});
  Formulas<double> exact{a, starts, q, k, v, {}, {}, {}, {}, {}};
  Formulas<float> plain{a, starts, q, k, v, {}, {}, {}, {}, {}};
  exact.forward();
  plain.forward();
  compare<act>(name + " out", out.read(), plain.out, exact.out);
  compare<float>(name + " lse", lse.read(), plain.lse, exact.lse);
  if (a.S != a.T || !from_zero) return;
  ops->run(AttentionBackward{.dout = device_dout.get(),
                             .out = out.get(),
                             .lse = lse.get(),
                             .q = device_q.get(),
                             .k = device_k.get(),
                             .v = device_v.get(),
                             .dq = dq.get(),
                             .dk = dk.get(),
                             .dv = dv.get(),
                             .size = a});
  exact.backward(dout, out.read());
  plain.backward(dout, out.read());
  compare<act>(name + " dq", dq.read(), plain.dq, exact.dq, 8);
  compare<act>(name + " dk", dk.read(), plain.dk, exact.dk, 8);
  compare<act>(name + " dv", dv.read(), plain.dv, exact.dv);
}

// With the scale that the width of heads has by itself.
AttentionSize size_of(int64_t M, int64_t B, int64_t T, int64_t S, int64_t H, int64_t K, int64_t D, int64_t window = 0,
                      float softcap = 0) {
  return {M, B, T, S, H, K, D, window, 1 / std::sqrt(float(D)), softcap};
}

void run() {
  for (int64_t M = 1; M <= 5; M++) attend(size_of(M, 2, 20, 20, 3, 1, 64), {0, 0});
  for (const int64_t size : {1, 31, 33, 123}) attend(size_of(2, 1, size, size, 2, 2, 33), {0});
  attend(size_of(1, 1, 70, 70, 6, 2, 128, 9), {0});        // a window shorter than a step
  attend(size_of(1, 2, 150, 150, 2, 1, 24, 100), {0, 0});  // and one longer
  attend(size_of(1, 1, 40, 40, 24, 1, 128), {0});          // the paper's heads
  attend(size_of(1, 2, 50, 50, 4, 2, 24, 9, 2), {0, 0});
  attend(size_of(1, 1, 40, 40, 2, 1, 256, 0, 3), {0});
  attend(size_of(2, 3, 1, 40, 4, 2, 40), {0, 39, 17});
  attend(size_of(1, 2, 2, 600, 24, 1, 128), {597, 0});  // split over the keys
  attend(size_of(1, 2, 1, 600, 4, 1, 16, 33), {599, 300});
  attend(size_of(1, 2, 40, 200, 4, 2, 16), {160, 5});  // a prompt behind another
  // Several of Hopper's tiles and steps, with rows and keys behind their ends.
  attend(size_of(2, 1, 300, 300, 4, 2, 128), {0});
  attend(size_of(1, 1, 450, 450, 3, 1, 64, 150), {0});
  attend(size_of(1, 2, 100, 300, 2, 1, 128), {0, 0});
  attend(size_of(1, 2, 140, 400, 2, 2, 64), {260, 5});
  attend(size_of(1, 2, 150, 400, 2, 1, 128, 70), {233, 0});
}

const Family family(run);

}  // namespace

}  // namespace bts::check
