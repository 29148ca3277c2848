// Attention's kernel for Hopper by itself, without the ops around it: what planted bugs are looked for with.
#include "attention_hopper.cuh"
#include "check.h"

namespace bts::check {

namespace {

#if defined(BTS_BF16) && defined(BTS_HOPPER)

// One head, without a bound on keys that the causal mask does not give, but for the window.
template <class S>
std::vector<S> attended(const AttentionSize& a, const std::vector<int32_t>& starts, const std::vector<float>& q,
                        const std::vector<float>& k, const std::vector<float>& v) {
  std::vector<S> out(q.size());
  for (int64_t b = 0; b < a.B; b++)
    for (int64_t t = 0; t < a.T; t++) {
      const int64_t last = starts[b] + t, first = a.window ? std::max<int64_t>(0, last - a.window + 1) : 0;
      std::vector<S> weights(last + 1);
      S top = -INFINITY, total = 0;
      for (int64_t j = first; j <= last; j++) {
        for (int64_t d = 0; d < a.D; d++) weights[j] += S{q[(b * a.T + t) * a.D + d]} * k[(b * a.S + j) * a.D + d];
        top = std::max(top, weights[j] *= a.scale);
      }
      for (int64_t j = first; j <= last; j++) total += weights[j] = std::exp(weights[j] - top);
      for (int64_t j = first; j <= last; j++)
        for (int64_t d = 0; d < a.D; d++) {
          const S weight = std::is_same_v<S, float> ? S(rounded<act>(weights[j] / total)) : weights[j] / total;
          out[(b * a.T + t) * a.D + d] += weight * v[(b * a.S + j) * a.D + d];
        }
    }
  if (std::is_same_v<S, float>)
    for (S& x : out) x = rounded<act>(x);
  return out;
}

template <int kWidth, int kWarpgroups>
void attend(int64_t T, int64_t S, int64_t window, const std::vector<int32_t>& starts) {
  const AttentionSize a{1, static_cast<int64_t>(starts.size()), T, S, 1, 1, kWidth, window, 0.1f, 0};
  const std::string name = "hopper attention, T " + std::to_string(T) + ", D " + std::to_string(kWidth) + ", " +
                           std::to_string(kWarpgroups) + " warpgroups";
  if (!wanted(name, 2.0 * a.B * a.T * a.S * a.D) || !context().hopper()) return;
  const auto q = numbers<act>(a.B * a.T * a.D, 1, 3);
  auto k = numbers<act>(a.B * a.S * a.D, 2, 3), v = numbers<act>(a.B * a.S * a.D, 3);
  for (auto* cache : {&k, &v})  // what no query sees was never written
    for (int64_t b = 0; b < a.B; b++)
      for (int64_t j = starts[b] + a.T; j < a.S; j++) std::fill_n(&(*cache)[(b * a.S + j) * a.D], a.D, NAN);
  Device<act> device_q(q), device_k(k), device_v(v), out(q.size());
  std::vector<float> bits(starts.size());
  std::memcpy(bits.data(), starts.data(), starts.size() * 4);
  Device<float> device_starts(bits);
  cuda::launch_hopper_attention<kWidth, kWarpgroups>(
      context(), AttentionForward{.q = device_q.get(),
                                  .k = device_k.get(),
                                  .v = device_v.get(),
                                  .starts = reinterpret_cast<const int32_t*>(device_starts.get()),
                                  .out = out.get(),
                                  .lse = nullptr,
                                  .size = a});
  compare<act>(name, out.read(), attended<float>(a, starts, q, k, v), attended<double>(a, starts, q, k, v));
}

void run() {
  attend<128, 2>(150, 400, 0, {0, 230});
  attend<64, 2>(150, 400, 0, {0, 230});
  attend<64, 3>(220, 400, 140, {170, 3});
}

const Family family(run);

#endif

}  // namespace

}  // namespace bts::check
