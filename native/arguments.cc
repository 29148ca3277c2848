#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

namespace bts {

int64_t to_integer(const Napi::Value& value, const std::string& what, int64_t lowest, int64_t highest, const char* code) {
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
  // 2^40 elements are more than any machine holds, and keep every product of sizes far from overflow.
  constexpr int64_t most = int64_t{1} << 40;
  int64_t elements = 1;
  for (uint32_t i = 0; i < array.Length(); i++) {
    shape.push_back(to_integer(array.Get(i), "a size in a shape", 0, most, "BAD_SHAPE"));
    if (shape.back() > 0 && elements > most / shape.back()) throw Error("BAD_SHAPE", "shape " + describe(shape) + " is too large");
    elements *= shape.back();
  }
  return shape;
}

DType to_dtype(const Napi::Value& value) {
  const std::string name = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (const DType dtype : {DType::F32, DType::F16, DType::BF16, DType::I32})
    if (name == name_of(dtype)) return dtype;
  throw Error("BAD_OPTION", "element type '" + name + "' is none of f32, f16, bf16, i32");
}

Call::Call(const char* op, Napi::Object arguments, const DeviceState* device)
    : op_(op), arguments_(arguments), device_(device) {}

void Call::fail(const char* code, const std::string& message) const { throw Error(code, std::string(op_) + ": " + message); }

void Call::require(bool holds, const std::string& expectation) const {
  if (!holds) fail("BAD_SHAPE", "expected " + expectation);
}

void Call::bind(const std::string& name, const char* shape, const std::vector<int64_t>& sizes) {
  std::istringstream stream(shape);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  bool fits = words.size() == sizes.size();
  for (size_t i = 0; fits && i < words.size(); i++) {
    if (words[i] == "1") fits = sizes[i] == 1;
    else fits = words_.emplace(words[i], sizes[i]).first->second == sizes[i];
  }
  if (fits) return;
  std::string expected;
  for (const auto& word : words) {
    const auto known = words_.find(word);
    expected += (expected.empty() ? "" : ", ") + word;
    if (known != words_.end()) expected.append("=").append(std::to_string(known->second));
  }
  fail("BAD_SHAPE", "'" + name + "' has shape " + describe(sizes) + ", expected [" + expected + "]");
}

Tensor& Call::fetch(const Napi::Value& value, const std::string& name, const char* shape, bool floats_only) {
  Tensor& tensor = Tensor::from(value, name.c_str());
  if (tensor.device().get() != device_) fail("BAD_OPTION", "'" + name + "' belongs to another device");
  if (floats_only && tensor.dtype() == DType::I32) fail("BAD_SHAPE", "'" + name + "' holds integers, expected floats");
  if (shape) bind(name, shape, tensor.shape());
  return tensor;
}

Tensor* Call::find(const char* name, const char* shape, bool optional, DType dtype) {
  const Napi::Value value = arguments_.Get(name);
  if (optional && (value.IsUndefined() || value.IsNull())) return nullptr;
  Tensor& tensor = fetch(value, name, shape, false);
  if (tensor.dtype() != dtype)
    fail("BAD_SHAPE", std::string("'") + name + "' holds " + name_of(tensor.dtype()) + ", expected " + name_of(dtype));
  return &tensor;
}

Weight Call::floats_of(Tensor& tensor, const char* name, DType dtype) {
  if (tensor.dtype() != DType::F32 && tensor.dtype() != dtype)
    fail("BAD_SHAPE", std::string("'") + name + "' holds " + name_of(tensor.dtype()) + ", expected f32 or " + name_of(dtype));
  reads(tensor);
  return {tensor.data(), tensor.dtype()};
}

std::pair<int32_t*, std::shared_ptr<Storage>> Call::integers_out(const char* name, const char* shape) {
  Tensor& tensor = *find(name, shape, false, DType::I32);
  writes(tensor);
  return {static_cast<int32_t*>(tensor.data()), tensor.storage()};
}

Integers Call::integers_of(Tensor* tensor) {
  if (!tensor) return {};
  reads(*tensor);
  return {static_cast<const int32_t*>(tensor->data()), tensor->size(), tensor->storage(), tensor->offset()};
}

Integers Call::integers(const char* name, const char* shape) {
  return integers_of(find(name, shape, false, DType::I32));
}

Integers Call::integers_or_none(const char* name, const char* shape) {
  return integers_of(find(name, shape, true, DType::I32));
}

std::vector<Tensor*> Call::list(const char* name, const char* count, const char* shape, bool optional) {
  const Napi::Value value = arguments_.Get(name);
  if (optional && (value.IsUndefined() || value.IsNull())) return {};
  if (!value.IsArray()) fail("BAD_SHAPE", std::string("'") + name + "' must be an array of tensors");
  const auto array = value.As<Napi::Array>();
  if (count) bind(std::string(name) + ".length", count, {static_cast<int64_t>(array.Length())});
  std::vector<Tensor*> tensors;
  for (uint32_t i = 0; i < array.Length(); i++)
    tensors.push_back(&fetch(array.Get(i), std::string(name) + "[" + std::to_string(i) + "]", shape, true));
  return tensors;
}

std::vector<Weight> Call::weights(const char* name, const char* count, const char* shape) {
  std::vector<Weight> weights;
  for (Tensor* tensor : list(name, count, shape, false)) {
    reads(*tensor);
    weights.push_back({tensor->data(), tensor->dtype()});
  }
  return weights;
}

std::vector<Weight> Call::weights_or_none(const char* name, const char* count, const char* shape) {
  const Napi::Value value = arguments_.Get(name);
  if (value.IsUndefined() || value.IsNull()) return {};
  return weights(name, count, shape);
}

std::vector<float*> Call::gradients(const char* name, const char* count, const char* shape) {
  std::vector<float*> gradients;
  for (Tensor* tensor : list(name, count, shape, false)) {
    if (tensor->dtype() != DType::F32) fail("BAD_SHAPE", std::string("'") + name + "' must hold f32");
    reads(*tensor);
    writes(*tensor);
    gradients.push_back(static_cast<float*>(tensor->data()));
  }
  return gradients;
}

std::vector<float*> Call::gradients_or_none(const char* name, const char* count, const char* shape) {
  const Napi::Value value = arguments_.Get(name);
  if (value.IsUndefined() || value.IsNull()) return {};
  return gradients(name, count, shape);
}

std::vector<Array> Call::arrays(const char* name) {
  std::vector<Array> arrays;
  std::vector<int64_t> sizes;
  for (Tensor* tensor : list(name, nullptr, nullptr, false)) {
    if (tensor->dtype() != DType::F32) fail("BAD_SHAPE", std::string("'") + name + "' must hold f32");
    // Not noted as written: a fault in the gradients skips the update and must leave weights and moments readable.
    reads(*tensor);
    arrays.push_back({static_cast<float*>(tensor->data()), tensor->size()});
    sizes.push_back(tensor->size());
  }
  if (array_sizes_.empty()) array_sizes_ = sizes;
  else if (array_sizes_ != sizes) fail("BAD_SHAPE", std::string("'") + name + "' does not match the lists before it");
  return arrays;
}

Tensor& Call::any(const char* name) { return fetch(arguments_.Get(name), name, nullptr, false); }

Tensor& Call::any(const char* name, DType dtype) { return *find(name, nullptr, false, dtype); }

double Call::number(const char* name) {
  const Napi::Value value = arguments_.Get(name);
  if (!value.IsNumber()) fail("BAD_OPTION", std::string("'") + name + "' must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

std::span<const double> Call::numbers(const char* name) {
  const Napi::Value value = arguments_.Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
    fail("BAD_OPTION", std::string("'") + name + "' must be a Float64Array");
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.ElementLength()};
}

int64_t Call::integer(const char* name) {
  return to_integer(arguments_.Get(name), std::string(op_) + ": '" + name + "'", 0, (int64_t{1} << 53) - 1);
}

int Call::choice(const char* name, std::initializer_list<const char*> words) {
  const Napi::Value value = arguments_.Get(name);
  const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "nothing";
  const auto found = std::find(words.begin(), words.end(), given);
  if (found != words.end()) return static_cast<int>(found - words.begin());
  std::string known;
  for (const char* word : words) known += (known.empty() ? "" : ", ") + std::string(word);
  fail("BAD_OPTION", std::string("'") + name + "' must be one of " + known + ", got " + given);
}

bool Call::flag(const char* name) { return arguments_.Get(name).ToBoolean().Value(); }

Task Call::task(std::function<void(Backend&)> body) && {
  return {op_, std::move(host_), std::move(body), std::move(reads_), std::move(writes_), {}};
}

}  // namespace bts
