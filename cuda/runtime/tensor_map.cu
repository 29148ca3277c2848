#include "tensor_map.h"

#include <string>

#include "../../native/error.h"
#include "context.h"

namespace bts::cuda {

namespace { constexpr int kBoxCols = 64; }  // namespace

#if !defined(__CUDACC__)

TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t stride, int box_rows) {
  return {data, rows, cols, stride * 2, static_cast<uint32_t>(box_rows), kBoxCols, {}};
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

TensorMap tensor_map(const void* data, int64_t rows, int64_t cols, int64_t stride, int box_rows) {
  static const auto encode = encoder();
  TensorMap map;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(stride) * 2};
  const cuuint32_t box[] = {kBoxCols, static_cast<cuuint32_t>(box_rows)}, element_strides[] = {1, 1};
  const CUresult status = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes, strides,
                                 box, element_strides, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw Error("DEVICE_FAILED", "cuTensorMapEncodeTiled failed with " + std::to_string(static_cast<int>(status)) +
                                     " for [" + std::to_string(rows) + ", " + std::to_string(cols) + "] with rows " +
                                     std::to_string(stride) + " apart");
  return map;
}

#endif

}  // namespace bts::cuda
