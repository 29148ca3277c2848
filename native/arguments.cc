#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace bts {

int64_t to_integer(const Napi::Value& value, const std::string& what, int64_t lowest, int64_t highest,
                   const char* code) {
  const double x = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (x >= static_cast<double>(lowest) && x <= static_cast<double>(highest) && x == std::floor(x))
    return static_cast<int64_t>(x);
  std::ostringstream message;
  message << what << " must be a whole number from " << lowest << " to " << highest << ", not ";
  if (value.IsNumber()) message << x;
  else message << "something else";
  throw Error(code, message.str());
}

std::vector<int64_t> to_shape(const Napi::Value& value) {
  if (!value.IsArray()) throw Error("BAD_SHAPE", "a shape must be an array of sizes");
  const auto array = value.As<Napi::Array>();
  if (array.Length() > 8) throw Error("BAD_SHAPE", "a shape has at most 8 sizes");
  std::vector<int64_t> shape;
  // 2^40 elements are more than any machine holds, and keep every product of sizes far from overflow, also of those beside a 0.
  constexpr int64_t most = int64_t{1} << 40;
  int64_t elements = 1;
  for (uint32_t i = 0; i < array.Length(); i++) {
    shape.push_back(to_integer(array.Get(i), "a size in a shape", 0, most, "BAD_SHAPE"));
    const int64_t size = std::max<int64_t>(shape.back(), 1);
    if (elements > most / size) throw Error("BAD_SHAPE", "shape " + describe(shape) + " is too large");
    elements *= size;
  }
  return shape;
}

DType to_dtype(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16, DType::I32, DType::Int8, DType::Int4})
    if (name == name_of(dtype)) return dtype;
  throw Error("BAD_OPTION", "element type '" + name + "' is none of f32, f16, bf16, i32, int8, int4");
}

}  // namespace bts
