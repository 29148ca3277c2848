// The named arguments of one op call from JavaScript, checked while an op reads them (see ops/list.h). Whatever is wrong is an
// Error that says what was expected and what came.
#pragma once

#include <functional>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"
#include "task.h"
#include "types.h"

namespace Napi {
class Object;
class Value;
}  // namespace Napi

namespace bts {

class DeviceState;
class Integers;
class Tensor;

// Shapes are written as words, "M N C": the first use of a word binds it to the size that came, later uses must agree. "..."
// in front of the words, or alone, stands for any sizes in the same way. While arguments are read, the call notes what the
// op reads and writes: what goes wrong in one op is told by the reads of what it should have written.
class Call {
 public:
  // The arguments must outlive the call.
  Call(const char* op, const Napi::Object& arguments, const DeviceState* device);

  // The size of a word, or the product of the sizes of "...".
  int64_t operator[](std::string_view word) const;
  // Whether there is an argument of that name.
  bool has(const char* name) const;
  // Gives a word a size that no argument tells.
  void define(std::string_view word, int64_t size) { words_.push_back({word, size}); }
  // That of a word which must not be zero.
  int64_t positive_size(std::string_view word) const;

  // --- Tensors whose elements are T: of activations, f32 or integers.
  template <class T>
  const T* input(const char* name, const char* shape) {
    return static_cast<const T*>(input(find(name, shape, dtype_of<T>)));
  }
  template <class T>
  const T* input_or_null(const char* name, const char* shape) {
    Tensor* tensor = find_or_null(name, shape, dtype_of<T>);
    return tensor ? static_cast<const T*>(input(*tensor)) : nullptr;
  }
  // Overwritten.
  template <class T>
  T* output(const char* name, const char* shape) {
    return static_cast<T*>(output(find(name, shape, dtype_of<T>)));
  }
  template <class T>
  T* output_or_null(const char* name, const char* shape) {
    Tensor* tensor = find_or_null(name, shape, dtype_of<T>);
    return tensor ? static_cast<T*>(output(*tensor)) : nullptr;
  }
  // Read and written where it stands.
  template <class T>
  T* update(const char* name, const char* shape) {
    return static_cast<T*>(update(find(name, shape, dtype_of<T>)));
  }
  template <class T>
  T* update_or_null(const char* name, const char* shape) {
    Tensor* tensor = find_or_null(name, shape, dtype_of<T>);
    return tensor ? static_cast<T*>(update(*tensor)) : nullptr;
  }
  // Added to where `accumulate` says so, else overwritten.
  template <class T>
  T* gradient(const char* name, const char* shape, bool accumulate) {
    return accumulate ? update<T>(name, shape) : output<T>(name, shape);
  }

  // --- Tensors of floats that may have one of several types.
  // f32 or T.
  template <class T>
  Weight input_f32_or(const char* name, const char* shape) {
    return input_f32_or(name, shape, dtype_of<T>);
  }
  struct Floats {
    void* data;
    DType dtype;
    std::vector<int64_t> shape;
    int64_t size;
  };
  // Any type, any shape.
  Floats input_of_any_type(const char* name);
  Floats output_of_any_type(const char* name);
  // The same of matrices, which may be quantized as well.
  Floats matrix_input(const char* name, const char* shape);
  Floats matrix_output(const char* name, const char* shape);
  // Of a quantized type.
  Floats quantized_input(const char* name);
  Floats quantized_output(const char* name);

  // --- One tensor for each member; `count` is a word too. Weights have the type of their checkpoint, gradients are f32.
  std::vector<Weight> weights(const char* name, const char* count, const char* shape);
  std::vector<Weight> weights_or_none(const char* name, const char* count, const char* shape);
  // Weights of products, which may be quantized as well.
  std::vector<Weight> matrices(const char* name, const char* count, const char* shape);
  // What adapters add to matrices [O,I]: the lists `down` and `up`, in which members without one have holes, and the numbers
  // `scales`. Ranks may differ. Empty where the call has no adapters.
  std::vector<LowRank> low_ranks(const char* count, const char* outputs, const char* inputs);
  std::vector<float*> gradients(const char* name, const char* count, const char* shape);
  std::vector<float*> gradients_or_none(const char* name, const char* count, const char* shape);
  // f32 of any shapes; the lists of one call must match entry by entry.
  std::vector<Array> arrays(const char* name);
  // The same of what is written, and left as it was where something that is read is at fault: a bad batch skips the update and
  // leaves weights and moments readable, an update that itself fails does not.
  std::vector<Array> kept_arrays(const char* name);

  // --- Integers, whose values the host checks each time before the op is queued: a failed op has written nothing.
  // Each in 0..limit-1, where `limit` is a word, or BAD_TOKEN.
  const int32_t* tokens(const char* name, const char* shape, const char* limit);
  // Each below the limit, or BAD_TOKEN; negative ones do not count.
  const int32_t* tokens_or_negative(const char* name, const char* shape, const char* limit);
  const int32_t* tokens_or_negative_or_null(const char* name, const char* shape, const char* limit);
  // Each in 0..limit-1, or BAD_SHAPE.
  const int32_t* indices(const char* name, const char* shape, const char* limit);
  // Each below the limit, or negative, or BAD_SHAPE.
  const int32_t* indices_or_negative(const char* name, const char* shape, const char* limit);
  // Where B sequences of T tokens begin: all their tokens lie in 0..limit-1, or BAD_SHAPE. Null: at zero.
  const int32_t* starts(const char* name, const char* limit);
  const int32_t* starts_or_null(const char* name, const char* limit);
  // Overwritten with what the host does not know.
  int32_t* integers_out(const char* name, const char* shape);

  // --- Numbers.
  double number(const char* name);
  float f32(const char* name) { return static_cast<float>(number(name)); }
  // Above zero, and finite.
  float positive(const char* name);
  // In [0, 1).
  float rate(const char* name);
  // Of a soft cap; 0: none.
  float cap_or_zero(const char* name);
  int64_t integer(const char* name);
  uint64_t seed(const char* name) { return static_cast<uint64_t>(integer(name)); }
  bool flag(const char* name);
  // Which of the words was given, counted from 0.
  int choice(const char* name, std::initializer_list<const char*> words);
  // The elements of a Float64Array.
  std::span<const double> numbers(const char* name);

  // Throws BAD_SHAPE, "expected ..", unless the condition holds.
  void require(bool holds, const std::string& expectation) const;
  // Throws BAD_OPTION.
  [[noreturn]] void refuse(const std::string& message) const;

  // Ends the call.
  Task task(std::function<void(Backend&)> body) &&;

 private:
  enum class Kind { Any, Floats, Matrix };  // floats may be of any width; those of a matrix may be quantized
  Tensor& fetch(const Napi::Value& value, const std::string& name, const char* shape, Kind kind);
  Tensor& quantized(const char* name);
  Tensor& find(const Napi::Value& value, const char* name, const char* shape, DType dtype);
  Tensor& find(const char* name, const char* shape, DType dtype);
  Tensor* find_or_null(const char* name, const char* shape, DType dtype);
  Tensor& entry(const Napi::Value& value, const char* name, uint32_t i, const char* shape, Kind kind = Kind::Floats);
  std::vector<Tensor*> list(const char* name, const char* count, const char* shape, bool optional,
                            Kind kind = Kind::Floats);
  std::vector<Weight> weights_of(const std::vector<Tensor*>& tensors);
  std::vector<float*> gradients_of(const char* name, const std::vector<Tensor*>& tensors);
  void bind(const std::string& name, const char* shape, const std::vector<int64_t>& sizes);
  const void* input(Tensor& tensor);
  void* output(Tensor& tensor);
  void* update(Tensor& tensor);
  Weight input_f32_or(const char* name, const char* shape, DType dtype);
  Integers integers_of(Tensor& tensor);
  const int32_t* below(const char* code, Tensor& tensor, const char* name, const char* limit);
  const int32_t* positions(Tensor* starts, const char* limit);
  void on_host(std::function<void()> f);
  [[noreturn]] void fail(const char* code, const std::string& message) const;

  struct Word {
    std::string_view name;
    int64_t size;
  };

  const char* op_;
  const Napi::Object& arguments_;
  const DeviceState* device_;
  std::vector<Word> words_;
  std::vector<int64_t> leading_;  // what "..." stands for
  bool is_leading_bound_ = false;
  std::vector<std::shared_ptr<Storage>> reads_;
  std::vector<Write> writes_;
  std::vector<int64_t> array_sizes_;
  std::function<void()> host_;
};

}  // namespace bts
