#include "elementwise.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

struct Capped {
  float cap;
  __device__ void operator()(float (&x)[1]) const { x[0] = capped<Math>(x[0], cap); }
};

}  // namespace

void CudaOps::run(const Softcap& op) { map(context_, {op.y}, {op.x}, op.n, Capped{op.cap}); }

}  // namespace bts::cuda::BTS_PRECISION
