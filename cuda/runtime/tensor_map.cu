#include "tensor_map.h"

#include <string>

#include "../../native/error.h"
#include "context.h"

namespace bts::cuda {

#if !defined(__CUDACC__)

TensorMap tensor_map(const void* data, std::initializer_list<Dimension> dimensions) {
  TensorMap map{data, {}, static_cast<int>(dimensions.size()), {}};
  auto* to = map.dimensions;
  for (const Dimension& of : dimensions) *to++ = {of.size, of.stride * 2, of.box};
  return map;
}

#elif defined(BTS_SM90A)

namespace {

// The driver's function: the runtime, which is linked in, knows where it is, so that nothing links against the driver.
auto encoder() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found;
  CUDA_EXPECT(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found));
  if (found != cudaDriverEntryPointSuccess) throw Error("DEVICE_FAILED", "the driver has no cuTensorMapEncodeTiled");
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
}

}  // namespace

TensorMap tensor_map(const void* data, std::initializer_list<Dimension> dimensions) {
  static const auto encode = encoder();
  constexpr int kMost = 4;
  TensorMap map;
  cuuint64_t sizes[kMost], strides[kMost];
  cuuint32_t box[kMost], element_strides[kMost];
  cuuint32_t count = 0;
  std::string shape;
  for (const Dimension& of : dimensions) {
    sizes[count] = of.size;
    strides[count] = of.stride * 2;
    box[count] = of.box;
    element_strides[count++] = 1;
    shape = std::to_string(of.size) + " every " + std::to_string(of.stride) + (shape.empty() ? "" : ", ") + shape;
  }
  // The innermost stride is understood.
  const CUresult status =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, count, const_cast<void*>(data), sizes, strides + 1, box,
             element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw Error("DEVICE_FAILED",
                "cuTensorMapEncodeTiled failed with " + std::to_string(static_cast<int>(status)) + " for " + shape);
  return map;
}

#endif

}  // namespace bts::cuda
