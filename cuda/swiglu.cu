#include "activation.cuh"
#include "elementwise.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <class Formulas>
struct Forward {
  __device__ void operator()(float (&x)[2]) const {
    const auto [gate, up] = x;
    x[0] = Formulas::value(gate) * up;
  }
};

template <class Formulas>
struct Backward {
  __device__ void operator()(float (&x)[3]) const {
    const auto [dy, gate, up] = x;
    x[0] = Formulas::times_slope(dy * up, gate);
    x[1] = dy * Formulas::value(gate);
  }
};

}  // namespace

void CudaOps::run(const SwigluForward& op) {
  with_activation(op.act, [&](auto act) { map(context_, {op.y}, {op.gate, op.up}, op.n, Forward<decltype(act)>()); });
}

void CudaOps::run(const SwigluBackward& op) {
  with_activation(op.act, [&](auto act) {
    map(context_, {op.dgate, op.dup}, {op.dy, op.gate, op.up}, op.n, Backward<decltype(act)>());
  });
}

}  // namespace bts::cuda::BTS_PRECISION
