#include <type_traits>

#include "../native/error.h"
#include "cuda_ops.h"
#include "vectors.cuh"

namespace bts::cuda::BTS_PRECISION {

namespace {

template <int width, class To, class From>
__global__ void convert_kernel(To* y, const From* x, int64_t n) {
  for (int64_t i = grid_thread() * width; i < n; i += grid_threads() * width) {
    float values[width];
    load(values, x + i);
    store(y + i, values);
  }
}

// Calls f with a null pointer to the type.
template <class F>
void with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::F32: return f(static_cast<float*>(nullptr));
    case DType::BF16: return f(static_cast<bf16*>(nullptr));
    case DType::F16: return f(static_cast<f16*>(nullptr));
    default: throw Error("BAD_SHAPE", "integers cannot be converted");
  }
}

}  // namespace

void CudaOps::run(const Convert& op) {
  const auto [x, from, y, to, n] = op;
  if (to == from) {
    CUDA_EXPECT(cudaMemcpyAsync(y, x, static_cast<size_t>(n) * size_of(to), cudaMemcpyDeviceToDevice,
                                context_.stream()));
    return;
  }
  with_type(to, [&](auto* to_type) {
    with_type(from, [&](auto* from_type) {
      using To = std::remove_pointer_t<decltype(to_type)>;
      using From = std::remove_pointer_t<decltype(from_type)>;
      with_width(n, {y, x}, [&](auto width) {
        GPU_LAUNCH(context_, (convert_kernel<width, To, From>), grid_for(context_, n / width), kThreads, 0,
                   static_cast<To*>(y), static_cast<const From*>(x), n);
      });
    });
  });
}

}  // namespace bts::cuda::BTS_PRECISION
