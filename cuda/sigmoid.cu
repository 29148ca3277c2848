#include "elementwise.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Sigmoid {
  __device__ float operator()(float x) const { return sigmoid<Math>(x); }
};
struct Gradient {
  __device__ float operator()(float dy, float y) const { return sigmoid_dx(dy, y); }
};

}  // namespace

void CudaOps::run(const SigmoidForward& op) { map(context_, op.y, op.x, op.n, Sigmoid()); }

void CudaOps::run(const SigmoidBackward& op) { map(context_, op.dx, op.dy, op.y, op.n, Gradient()); }

}  // namespace bts::cuda::BTS_PRECISION
