#include "elementwise.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Sigmoid {
  __device__ void operator()(float (&x)[1]) const { x[0] = sigmoid<Math>(x[0]); }
};
struct Gradient {
  __device__ void operator()(float (&x)[2]) const { x[0] = sigmoid_dx(x[0], x[1]); }
};

}  // namespace

void CudaOps::run(const SigmoidForward& op) { map(context_, {op.y}, {op.x}, op.n, Sigmoid()); }

void CudaOps::run(const SigmoidBackward& op) { map(context_, {op.dx}, {op.dy, op.y}, op.n, Gradient()); }

}  // namespace bts::cuda::BTS_PRECISION
