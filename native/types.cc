#include "types.h"

namespace bts {

const char* name_of(DType dtype) {
  switch (dtype) {
    case DType::F16: return "f16";
    case DType::BF16: return "bf16";
    case DType::I32: return "i32";
    case DType::Int8: return "int8";
    case DType::Int4: return "int4";
    default: return "f32";
  }
}

std::string describe(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); i++) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace bts
