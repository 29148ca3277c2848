// Turns JavaScript arguments into what C++ needs, or throws an Error that says what was expected and what came.
#pragma once

#include <napi.h>

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "queue.h"
#include "tensor.h"

namespace bts {

int64_t to_integer(const Napi::Value& value, const std::string& what, int64_t lowest, int64_t highest,
                   const char* code = "BAD_OPTION");
std::vector<int64_t> to_shape(const Napi::Value& value);
DType to_dtype(const Napi::Value& value);

// Runs f and throws what it throws as a JavaScript error with a `code`.
template <class F>
Napi::Value guarded(Napi::Env env, F&& f) {
  const auto raise = [env](const char* code, const char* message) -> Napi::Value {
    Napi::Error error = Napi::Error::New(env, message);
    error.Set("code", Napi::String::New(env, code));
    error.ThrowAsJavaScriptException();
    return env.Undefined();
  };
  try {
    return f();
  } catch (const Error& error) {
    return raise(error.code, error.what());
  } catch (const std::bad_alloc&) {
    return raise("OUT_OF_MEMORY", "the host's memory is used up");
  }
}

// The named arguments of one op call. Shapes are written as words, "M N C": the first use of a word binds it to the
// size that came, later uses must agree. While arguments are fetched, the call notes what the op reads and writes.
class Call {
 public:
  Call(const char* op, Napi::Object arguments, const DeviceState* device);

  // Tensors of type T.
  template <class T>
  const T* input(const char* name, const char* shape) {
    return input_as<T>(find(name, shape, false, dtype_of<T>));
  }
  template <class T>
  const T* input_or_null(const char* name, const char* shape) {
    return input_as<T>(find(name, shape, true, dtype_of<T>));
  }
  template <class T>
  T* output(const char* name, const char* shape) {
    return output_as<T>(find(name, shape, false, dtype_of<T>));
  }
  template <class T>
  T* output_or_null(const char* name, const char* shape) {
    return output_as<T>(find(name, shape, true, dtype_of<T>));
  }
  // Written where it stands: read and written.
  template <class T>
  T* update(const char* name, const char* shape) {
    return update_as<T>(find(name, shape, false, dtype_of<T>));
  }
  template <class T>
  T* update_or_null(const char* name, const char* shape) {
    return update_as<T>(find(name, shape, true, dtype_of<T>));
  }
  // Of type f32 or T.
  template <class T>
  Weight floats(const char* name, const char* shape) {
    return floats_of(fetch(arguments_.Get(name), name, shape, true), name, dtype_of<T>);
  }
  Integers integers(const char* name, const char* shape);
  Integers integers_or_none(const char* name, const char* shape);
  // Written by the op.
  std::pair<int32_t*, std::shared_ptr<Storage>> integers_out(const char* name, const char* shape);
  // One tensor per member; `count` is a word too.
  std::vector<Weight> weights(const char* name, const char* count, const char* shape);
  std::vector<Weight> weights_or_none(const char* name, const char* count, const char* shape);
  std::vector<float*> gradients(const char* name, const char* count, const char* shape);
  std::vector<float*> gradients_or_none(const char* name, const char* count, const char* shape);
  // Any shapes; the lists of one call must match entry by entry.
  std::vector<Array> arrays(const char* name);
  // Any shape and type.
  Tensor& any(const char* name);
  // Any shape, of the type given.
  Tensor& any(const char* name, DType dtype);

  double number(const char* name);
  // The elements of a Float64Array.
  std::span<const double> numbers(const char* name);
  int64_t integer(const char* name);
  bool flag(const char* name);
  // Which of the words was given, counted from 0.
  int choice(const char* name, std::initializer_list<const char*> words);

  int64_t operator[](std::string_view word) const { return words_.at(std::string(word)); }
  // Throws BAD_SHAPE unless the condition holds.
  void require(bool holds, const std::string& expectation) const;

  void reads(const Tensor& tensor) { reads_.push_back(tensor.storage()); }
  // What the host does each time before the op is queued.
  void on_host(std::function<void()> f) { host_ = std::move(f); }
  void writes(const Tensor& tensor) { writes_.push_back({tensor.storage(), tensor.whole()}); }
  Task task(std::function<void(Backend&)> body) &&;

 private:
  Tensor& fetch(const Napi::Value& value, const std::string& name, const char* shape, bool floats_only);
  Tensor* find(const char* name, const char* shape, bool optional, DType dtype);
  std::vector<Tensor*> list(const char* name, const char* count, const char* shape, bool optional);
  void bind(const std::string& name, const char* shape, const std::vector<int64_t>& sizes);
  template <class T>
  const T* input_as(Tensor* tensor) {
    if (!tensor) return nullptr;
    reads(*tensor);
    return static_cast<const T*>(tensor->data());
  }
  template <class T>
  T* output_as(Tensor* tensor) {
    if (!tensor) return nullptr;
    writes(*tensor);
    return static_cast<T*>(tensor->data());
  }
  template <class T>
  T* update_as(Tensor* tensor) {
    if (tensor) reads(*tensor);
    return output_as<T>(tensor);
  }
  Weight floats_of(Tensor& tensor, const char* name, DType dtype);
  Integers integers_of(Tensor* tensor);
  [[noreturn]] void fail(const char* code, const std::string& message) const;

  const char* op_;
  Napi::Object arguments_;
  const DeviceState* device_;
  std::map<std::string, int64_t, std::less<>> words_;
  std::vector<std::shared_ptr<Storage>> reads_;
  std::vector<Write> writes_;
  std::vector<int64_t> array_sizes_;
  std::function<void()> host_;
};

}  // namespace bts
