// Causal attention, forward and backward, against loops over the formula: grouped heads, windows, caches with starts,
// splits over a long cache, odd sizes.
#include "attention_formulas.h"

namespace bts::check {

namespace {

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
  // The same for the backward's: groups, windows that end within a tile and begin before it, and caps.
  attend(size_of(1, 1, 400, 400, 6, 2, 64), {0});
  attend(size_of(1, 1, 450, 450, 2, 1, 128, 200), {0});
  attend(size_of(1, 2, 200, 200, 4, 2, 128, 90, 3), {0, 0});
  attend(size_of(1, 1, 260, 260, 4, 1, 64, 0, 2), {0});
}

const Family family(run);

}  // namespace

}  // namespace bts::check
