#include "tensor.h"

#include <utility>

#include "addon.h"
#include "arguments.h"

namespace bts {

namespace {

// What a new Tensor is made of, handed to the constructor through an external value.
struct Parts {
  std::shared_ptr<DeviceState> device;
  std::shared_ptr<Storage> storage;
  size_t offset;
  DType dtype;
  std::vector<int64_t> shape;
};

// Each backend is a binary of its own, and none may take another's tensors for its own.
constexpr napi_type_tag kTag = {0x9d1f0a8be1f54c07, 0xb2c7d04b6c1e2a50 + BTS_BACKEND};

int64_t product(const std::vector<int64_t>& shape) {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

}  // namespace

Napi::Function Tensor::define(Napi::Env env) {
  return DefineClass(env, "Tensor",
                     {InstanceAccessor<&Tensor::dimensions>("shape"), InstanceMethod<&Tensor::view>("view"),
                      InstanceMethod<&Tensor::dispose>("dispose")});
}

Napi::Object Tensor::create(Napi::Env env, std::shared_ptr<DeviceState> device, std::shared_ptr<Storage> storage,
                            size_t offset, DType dtype, std::vector<int64_t> shape) {
  Parts parts{std::move(device), std::move(storage), offset, dtype, std::move(shape)};
  try {
    return env.GetInstanceData<Constructors>()->tensor.New({Napi::External<Parts>::New(env, &parts)});
  } catch (...) {
    // Nobody has it.
    if (parts.storage && parts.storage->handles == 0) parts.device->release(*parts.storage);
    throw;
  }
}

Tensor& Tensor::from(const Napi::Value& value, const char* what) {
  if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&kTag))
    throw Error("BAD_SHAPE", std::string("'") + what + "' must be a tensor");
  Tensor& tensor = *Unwrap(value.As<Napi::Object>());
  if (!tensor.storage_ || tensor.device_->closed())
    throw Error("DISPOSED", std::string("'") + what + "' was used after it or its device was disposed");
  return tensor;
}

Tensor::Tensor(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    Napi::TypeError::New(info.Env(), "tensors are created by their device").ThrowAsJavaScriptException();
    return;
  }
  Parts& parts = *info[0].As<Napi::External<Parts>>().Data();
  device_ = std::move(parts.device);
  storage_ = std::move(parts.storage);
  offset_ = parts.offset;
  dtype_ = parts.dtype;
  shape_ = std::move(parts.shape);
  storage_->handles++;
  info.This().As<Napi::Object>().TypeTag(&kTag);
}

Tensor::~Tensor() { release(); }

int64_t Tensor::size() const { return product(shape_); }

void Tensor::release() {
  if (!storage_) return;
  if (--storage_->handles == 0) device_->release(*storage_);
  storage_.reset();
}

// Bytes before a view of that shape. Those of what is quantized are rows.
size_t Tensor::bytes_before(int64_t offset, const std::vector<int64_t>& shape) const {
  if (!is_quantized(dtype_)) return static_cast<size_t>(offset) * size_of(dtype_);
  if (product(shape) == 0) return 0;
  const int64_t width = shape_.back();
  if (shape.empty() || shape.back() != width || offset % width != 0)
    throw Error("BAD_SHAPE", std::string("views of a tensor of ") + name_of(dtype_) + " are rows of " +
                                 std::to_string(width) + ", not " + describe(shape) + " from element " +
                                 std::to_string(offset));
  return static_cast<size_t>(bytes_of(dtype_, offset / width, width));
}

// view(shape, offset in elements): another tensor over part of the same memory.
Napi::Value Tensor::view(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    from(info.This(), "tensor");
    auto shape = to_shape(info[0]);
    const int64_t offset = to_integer(info[1], "offset", 0, size());
    if (product(shape) > size() - offset) {
      throw Error("BAD_SHAPE", "a view of shape " + describe(shape) + " from element " + std::to_string(offset) +
                                   " does not fit into a tensor of shape " + describe(shape_));
    }
    const size_t first = offset_ + bytes_before(offset, shape);
    return create(info.Env(), device_, storage_, first, dtype_, std::move(shape));
  });
}

Napi::Value Tensor::dimensions(const Napi::CallbackInfo& info) {
  auto sizes = Napi::Array::New(info.Env(), shape_.size());
  for (uint32_t i = 0; i < shape_.size(); i++) sizes[i] = Napi::Number::New(info.Env(), double(shape_[i]));
  return sizes;
}

Napi::Value Tensor::dispose(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

}  // namespace bts
