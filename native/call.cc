#include "call.h"

#include <napi.h>

#include <algorithm>
#include <cmath>

#include "arguments.h"
#include "check.h"
#include "tensor.h"

namespace bts {

namespace {

// Calls f with each word.
template <class F>
void for_words(std::string_view shape, F&& f) {
  for (size_t end; !shape.empty(); shape.remove_prefix(std::min(shape.size(), end + 1))) {
    end = std::min(shape.find(' '), shape.size());
    f(shape.substr(0, end));
  }
}

bool is_absent(const Napi::Value& value) { return value.IsUndefined() || value.IsNull(); }

}  // namespace

Call::Call(const char* op, const Napi::Object& arguments, const DeviceState* device)
    : op_(op), arguments_(arguments), device_(device) {
  words_.reserve(8);
}

void Call::fail(const char* code, const std::string& message) const {
  throw Error(code, std::string(op_) + ": " + message);
}

void Call::require(bool holds, const std::string& expectation) const {
  if (!holds) fail("BAD_SHAPE", "expected " + expectation);
}

void Call::refuse(const std::string& message) const { fail("BAD_OPTION", message); }

int64_t Call::operator[](std::string_view word) const {
  if (word == "...") {
    int64_t elements = 1;
    for (const int64_t size : leading_) elements *= size;
    return elements;
  }
  for (const Word& known : words_)
    if (known.name == word) return known.size;
  fail("BAD_SHAPE", "no argument tells the size " + std::string(word));
}

int64_t Call::positive_size(std::string_view word) const {
  const int64_t size = (*this)[word];
  require(size > 0, std::string(word) + " to be more than zero");
  return size;
}

void Call::bind(const std::string& name, const char* shape, const std::vector<int64_t>& sizes) {
  const auto find = [&](std::string_view word) {
    return std::find_if(words_.begin(), words_.end(), [&](const Word& known) { return known.name == word; });
  };
  std::string_view words = shape;
  const bool is_open = words.starts_with("...");
  if (is_open) words.remove_prefix(std::min(words.size(), std::string_view("... ").size()));
  size_t count = 0, at = 0;
  for_words(words, [&](std::string_view) { count++; });
  bool fits = is_open ? count <= sizes.size() : count == sizes.size();
  if (is_open && fits) {
    at = sizes.size() - count;
    if (!is_leading_bound_) leading_.assign(sizes.begin(), sizes.begin() + at);
    is_leading_bound_ = true;
    fits = std::equal(leading_.begin(), leading_.end(), sizes.begin(), sizes.begin() + at);
  }
  for_words(words, [&](std::string_view word) {
    if (!fits) return;
    const int64_t size = sizes[at++];
    const auto known = find(word);
    if (word == "1") fits = size == 1;
    else if (known != words_.end()) fits = known->size == size;
    else words_.push_back({word, size});
  });
  if (fits) return;
  std::string expected;
  const auto append = [&](std::string_view text) { expected.append(expected.empty() ? "" : ", ").append(text); };
  if (is_open && !is_leading_bound_) append("...");
  if (is_open)
    for (const int64_t size : leading_) append(std::to_string(size));
  for_words(words, [&](std::string_view word) {
    append(word);
    const auto known = find(word);
    if (known != words_.end()) expected.append("=").append(std::to_string(known->size));
  });
  fail("BAD_SHAPE", "'" + name + "' has shape " + describe(sizes) + ", expected [" + expected + "]");
}

Tensor& Call::fetch(const Napi::Value& value, const std::string& name, const char* shape, Kind kind) {
  Tensor& tensor = Tensor::from(value, name.c_str());
  if (tensor.device().get() != device_) fail("BAD_OPTION", "'" + name + "' belongs to another device");
  if (kind != Kind::Any && tensor.dtype() == DType::I32)
    fail("BAD_SHAPE", "'" + name + "' holds integers, expected floats");
  if (kind == Kind::Floats && is_quantized(tensor.dtype()))
    fail("BAD_SHAPE", "'" + name + "' holds " + name_of(tensor.dtype()) + ", expected floats");
  if (shape) bind(name, shape, tensor.shape());
  return tensor;
}

Tensor& Call::find(const Napi::Value& value, const char* name, const char* shape, DType dtype) {
  Tensor& tensor = fetch(value, name, shape, Kind::Any);
  if (tensor.dtype() != dtype)
    fail("BAD_SHAPE", std::string("'") + name + "' holds " + name_of(tensor.dtype()) + ", expected " + name_of(dtype));
  return tensor;
}

Tensor& Call::find(const char* name, const char* shape, DType dtype) {
  return find(arguments_.Get(name), name, shape, dtype);
}

Tensor* Call::find_or_null(const char* name, const char* shape, DType dtype) {
  const Napi::Value value = arguments_.Get(name);
  return is_absent(value) ? nullptr : &find(value, name, shape, dtype);
}

const void* Call::input(Tensor& tensor) {
  reads_.push_back(tensor.storage());
  return tensor.data();
}

void* Call::output(Tensor& tensor) {
  writes_.push_back({tensor.storage(), tensor.whole()});
  return tensor.data();
}

void* Call::update(Tensor& tensor) {
  input(tensor);
  return output(tensor);
}

Weight Call::input_f32_or(const char* name, const char* shape, DType dtype) {
  Tensor& tensor = fetch(arguments_.Get(name), name, shape, Kind::Floats);
  if (tensor.dtype() != DType::F32 && tensor.dtype() != dtype)
    fail("BAD_SHAPE",
         std::string("'") + name + "' holds " + name_of(tensor.dtype()) + ", expected f32 or " + name_of(dtype));
  return {input(tensor), tensor.dtype()};
}

Call::Floats Call::input_of_any_type(const char* name) {
  Tensor& tensor = fetch(arguments_.Get(name), name, nullptr, Kind::Floats);
  input(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

Call::Floats Call::output_of_any_type(const char* name) {
  Tensor& tensor = fetch(arguments_.Get(name), name, nullptr, Kind::Floats);
  output(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

Call::Floats Call::matrix_input(const char* name, const char* shape) {
  Tensor& tensor = fetch(arguments_.Get(name), name, shape, Kind::Matrix);
  input(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

Call::Floats Call::matrix_output(const char* name, const char* shape) {
  Tensor& tensor = fetch(arguments_.Get(name), name, shape, Kind::Matrix);
  output(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

Tensor& Call::quantized(const char* name) {
  Tensor& tensor = fetch(arguments_.Get(name), name, nullptr, Kind::Matrix);
  if (!is_quantized(tensor.dtype()))
    fail("BAD_SHAPE", std::string("'") + name + "' holds " + name_of(tensor.dtype()) + ", expected int8 or int4");
  return tensor;
}

Call::Floats Call::quantized_input(const char* name) {
  Tensor& tensor = quantized(name);
  input(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

Call::Floats Call::quantized_output(const char* name) {
  Tensor& tensor = quantized(name);
  output(tensor);
  return {tensor.data(), tensor.dtype(), tensor.shape(), tensor.size()};
}

std::vector<Tensor*> Call::list(const char* name, const char* count, const char* shape, bool optional, Kind kind) {
  const Napi::Value value = arguments_.Get(name);
  if (optional && is_absent(value)) return {};
  if (!value.IsArray()) fail("BAD_SHAPE", std::string("'") + name + "' must be an array of tensors");
  const auto array = value.As<Napi::Array>();
  const uint32_t length = array.Length();
  if (count) bind(std::string(name) + ".length", count, {static_cast<int64_t>(length)});
  std::vector<Tensor*> tensors;
  tensors.reserve(length);
  for (uint32_t i = 0; i < length; i++) tensors.push_back(&entry(array.Get(i), name, i, shape, kind));
  return tensors;
}

Tensor& Call::entry(const Napi::Value& value, const char* name, uint32_t i, const char* shape, Kind kind) {
  return fetch(value, std::string(name) + "[" + std::to_string(i) + "]", shape, kind);
}

std::vector<Weight> Call::weights_of(const std::vector<Tensor*>& tensors) {
  std::vector<Weight> weights;
  weights.reserve(tensors.size());
  for (Tensor* tensor : tensors) weights.push_back({input(*tensor), tensor->dtype()});
  return weights;
}

std::vector<Weight> Call::weights(const char* name, const char* count, const char* shape) {
  return weights_of(list(name, count, shape, false));
}

std::vector<Weight> Call::weights_or_none(const char* name, const char* count, const char* shape) {
  return weights_of(list(name, count, shape, true));
}

std::vector<Weight> Call::matrices(const char* name, const char* count, const char* shape) {
  return weights_of(list(name, count, shape, false, Kind::Matrix));
}

std::vector<LowRank> Call::low_ranks(const char* count, const char* outputs, const char* inputs) {
  if (!has("down") && !has("up")) return {};
  const Napi::Value down = arguments_.Get("down"), up = arguments_.Get("up");
  if (!down.IsArray() || !up.IsArray()) fail("BAD_SHAPE", "'down' and 'up' must be arrays");
  const auto downs = down.As<Napi::Array>(), ups = up.As<Napi::Array>();
  const auto scales = numbers("scales");
  bind("down.length", count, {downs.Length()});
  bind("up.length", count, {ups.Length()});
  bind("scales.length", count, {static_cast<int64_t>(scales.size())});
  std::vector<LowRank> all(downs.Length());
  const std::string down_shape = std::string("R ") + inputs, up_shape = std::string(outputs) + " R";
  for (uint32_t i = 0; i < downs.Length(); i++) {
    if (is_absent(downs.Get(i)) && is_absent(ups.Get(i))) continue;
    const size_t known = words_.size();
    Tensor& a = entry(downs.Get(i), "down", i, down_shape.c_str());
    Tensor& b = entry(ups.Get(i), "up", i, up_shape.c_str());
    const int64_t rank = (*this)["R"];
    words_.erase(words_.begin() + known, words_.end());  // the next one's rank is its own
    if (!std::isfinite(scales[i])) refuse("'scales[" + std::to_string(i) + "]' must be finite");
    all[i] = {{input(a), a.dtype()}, {input(b), b.dtype()}, rank, static_cast<float>(scales[i])};
  }
  return all;
}

std::vector<float*> Call::gradients_of(const char* name, const std::vector<Tensor*>& tensors) {
  std::vector<float*> gradients;
  gradients.reserve(tensors.size());
  for (Tensor* tensor : tensors) {
    if (tensor->dtype() != DType::F32) fail("BAD_SHAPE", std::string("'") + name + "' must hold f32");
    gradients.push_back(static_cast<float*>(update(*tensor)));
  }
  return gradients;
}

std::vector<float*> Call::gradients(const char* name, const char* count, const char* shape) {
  return gradients_of(name, list(name, count, shape, false));
}

std::vector<float*> Call::gradients_or_none(const char* name, const char* count, const char* shape) {
  return gradients_of(name, list(name, count, shape, true));
}

std::vector<Array> Call::arrays(const char* name) {
  std::vector<Array> arrays;
  std::vector<int64_t> sizes;
  for (Tensor* tensor : list(name, nullptr, nullptr, false)) {
    if (tensor->dtype() != DType::F32) fail("BAD_SHAPE", std::string("'") + name + "' must hold f32");
    input(*tensor);
    arrays.push_back({static_cast<float*>(tensor->data()), tensor->size()});
    sizes.push_back(tensor->size());
  }
  if (array_sizes_.empty()) array_sizes_ = sizes;
  else if (array_sizes_ != sizes) fail("BAD_SHAPE", std::string("'") + name + "' does not match the lists before it");
  return arrays;
}

std::vector<Array> Call::kept_arrays(const char* name) {
  auto all = arrays(name);
  for (Tensor* tensor : list(name, nullptr, nullptr, false))
    writes_.push_back({.storage = tensor->storage(), .whole = false, .kept = true});
  return all;
}

Integers Call::integers_of(Tensor& tensor) {
  return {static_cast<const int32_t*>(input(tensor)), tensor.size(), tensor.storage(), tensor.offset()};
}

void Call::on_host(std::function<void()> f) {
  if (!host_) host_ = std::move(f);
  else
    host_ = [before = std::move(host_), f = std::move(f)] {
      before();
      f();
    };
}

const int32_t* Call::tokens(const char* name, const char* shape, const char* limit) {
  const Integers ids = integers_of(find(name, shape, DType::I32));
  on_host([=, end = (*this)[limit]] { check_indices("BAD_TOKEN", name, ids, end); });
  return ids.data();
}

const int32_t* Call::indices(const char* name, const char* shape, const char* limit) {
  const Integers ids = integers_of(find(name, shape, DType::I32));
  on_host([=, end = (*this)[limit]] { check_indices("BAD_SHAPE", name, ids, end); });
  return ids.data();
}

const int32_t* Call::below(const char* code, Tensor& tensor, const char* name, const char* limit) {
  const Integers ids = integers_of(tensor);
  on_host([=, end = (*this)[limit]] { check_below(code, ids, name, end); });
  return ids.data();
}

const int32_t* Call::indices_or_negative(const char* name, const char* shape, const char* limit) {
  return below("BAD_SHAPE", find(name, shape, DType::I32), name, limit);
}

bool Call::has(const char* name) const { return !is_absent(arguments_.Get(name)); }

const int32_t* Call::tokens_or_negative(const char* name, const char* shape, const char* limit) {
  return below("BAD_TOKEN", find(name, shape, DType::I32), name, limit);
}

const int32_t* Call::tokens_or_negative_or_null(const char* name, const char* shape, const char* limit) {
  Tensor* tensor = find_or_null(name, shape, DType::I32);
  return tensor ? below("BAD_TOKEN", *tensor, name, limit) : nullptr;
}

const int32_t* Call::positions(Tensor* tensor, const char* limit) {
  const Integers starts = tensor ? integers_of(*tensor) : Integers();
  on_host([=, B = (*this)["B"], T = (*this)["T"], end = (*this)[limit]] { check_positions(starts, B, T, end); });
  return starts.data();
}

const int32_t* Call::starts(const char* name, const char* limit) {
  return positions(&find(name, "B", DType::I32), limit);
}

const int32_t* Call::starts_or_null(const char* name, const char* limit) {
  return positions(find_or_null(name, "B", DType::I32), limit);
}

int32_t* Call::integers_out(const char* name, const char* shape) {
  Tensor& tensor = find(name, shape, DType::I32);
  on_host([storage = tensor.storage()] { storage->mirror.clear(); });
  return static_cast<int32_t*>(output(tensor));
}

double Call::number(const char* name) {
  const Napi::Value value = arguments_.Get(name);
  if (!value.IsNumber()) fail("BAD_OPTION", std::string("'") + name + "' must be a number");
  return value.As<Napi::Number>().DoubleValue();
}

float Call::positive(const char* name) {
  const float x = f32(name);
  if (!(x > 0 && std::isfinite(x))) fail("BAD_OPTION", std::string("'") + name + "' must be above zero and finite");
  return x;
}

float Call::rate(const char* name) {
  const double rate = number(name);
  if (!(rate >= 0 && rate < 1)) fail("BAD_OPTION", std::string("'") + name + "' must lie in [0, 1)");
  return static_cast<float>(rate);
}

float Call::cap_or_zero(const char* name) {
  const double value = number(name);
  if (!(value >= 0)) fail("BAD_OPTION", std::string("'") + name + "' must not be negative");
  return static_cast<float>(value);
}

int64_t Call::integer(const char* name) {
  return to_integer(arguments_.Get(name), std::string(op_) + ": '" + name + "'", 0, (int64_t{1} << 53) - 1);
}

bool Call::flag(const char* name) { return arguments_.Get(name).ToBoolean().Value(); }

int Call::choice(const char* name, std::initializer_list<const char*> words) {
  const Napi::Value value = arguments_.Get(name);
  const std::string given = value.IsString() ? value.As<Napi::String>().Utf8Value() : "nothing";
  const auto found = std::find(words.begin(), words.end(), given);
  if (found != words.end()) return static_cast<int>(found - words.begin());
  std::string known;
  for (const char* word : words) known += (known.empty() ? "" : ", ") + std::string(word);
  fail("BAD_OPTION", std::string("'") + name + "' must be one of " + known + ", got " + given);
}

std::span<const double> Call::numbers(const char* name) {
  const Napi::Value value = arguments_.Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float64_array)
    fail("BAD_OPTION", std::string("'") + name + "' must be a Float64Array");
  const auto array = value.As<Napi::Float64Array>();
  return {array.Data(), array.ElementLength()};
}

Task Call::task(std::function<void(Backend&)> body) && {
  return {op_, std::move(host_), std::move(body), std::move(reads_), std::move(writes_), {}};
}

}  // namespace bts
