// The kernels of attention's backward for Hopper by themselves, without the ops around them: what planted bugs are looked
// for with.
#include "attention_backward_hopper.cuh"
#include "attention_formulas.h"

namespace bts::check {

namespace {

#if defined(BTS_BF16) && defined(BTS_HOPPER)

void attend(const AttentionSize& a) {
  const std::string name = "hopper attention backward, T " + std::to_string(a.T) + ", D " + std::to_string(a.D);
  if (!wanted(name, 9.0 * a.M * a.B * a.T * a.S * a.H * a.D) || !context().hopper()) return;
  const int64_t queries = a.M * a.B * a.T * a.H * a.D, keys = a.M * a.B * a.S * a.K * a.D;
  const auto q = numbers<act>(queries, 1, 3), k = numbers<act>(keys, 2, 3), v = numbers<act>(keys, 3),
             dout = numbers<act>(queries, 4);
  const std::vector<int32_t> starts(a.B);
  Formulas<double> exact{a, starts, q, k, v, {}, {}, {}, {}, {}};
  Formulas<float> plain{a, starts, q, k, v, {}, {}, {}, {}, {}};
  exact.forward();
  std::vector<float> lse(exact.lse.begin(), exact.lse.end()), o(queries);
  for (int64_t i = 0; i < queries; i++) o[i] = rounded<act>(exact.out[i]);
  Device<act> device_q(q), device_k(k), device_v(v), device_dout(dout), out(o), dq(queries), dk(keys), dv(keys);
  Device<float> device_lse(lse);
  const bool taken = cuda::attended_backward_on_hopper(context(), AttentionBackward{.dout = device_dout.get(),
                                                                                    .out = out.get(),
                                                                                    .lse = device_lse.get(),
                                                                                    .q = device_q.get(),
                                                                                    .k = device_k.get(),
                                                                                    .v = device_v.get(),
                                                                                    .dq = dq.get(),
                                                                                    .dk = dk.get(),
                                                                                    .dv = dv.get(),
                                                                                    .size = a});
  if (!taken) throw std::runtime_error(name + " is not computed by the kernels for Hopper");
  exact.backward(dout, o);
  plain.backward(dout, o);
  compare<act>(name + " dq", dq.read(), plain.dq, exact.dq, 1);
  compare<act>(name + " dk", dk.read(), plain.dk, exact.dk, 1);
  compare<act>(name + " dv", dv.read(), plain.dv, exact.dv);
}

void run() {
  attend({1, 1, 330, 330, 2, 1, 128, 0, 0.1f, 0});
  attend({1, 2, 300, 300, 1, 1, 64, 140, 0.1f, 0});
}

const Family family(run);

#endif

}  // namespace

}  // namespace bts::check
