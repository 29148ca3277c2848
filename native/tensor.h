#pragma once

#include <napi.h>

#include <memory>
#include <string>
#include <vector>

#include "device.h"
#include "quantized.h"

namespace bts {

// The JavaScript class `Tensor`: a dense view of a storage. Created by its device, never by JavaScript.
class Tensor : public Napi::ObjectWrap<Tensor> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<DeviceState> device, std::shared_ptr<Storage> storage,
                             size_t offset, DType dtype, std::vector<int64_t> shape);
  // The tensor behind a JavaScript value. Throws BAD_SHAPE if it is none, DISPOSED if its memory is gone.
  static Tensor& from(const Napi::Value& value, const char* what);

  explicit Tensor(const Napi::CallbackInfo& info);
  ~Tensor() override;

  const std::shared_ptr<DeviceState>& device() const { return device_; }
  const std::shared_ptr<Storage>& storage() const { return storage_; }
  void* data() const { return static_cast<char*>(storage_->data) + offset_; }
  size_t offset() const { return offset_; }  // in bytes
  DType dtype() const { return dtype_; }
  const std::vector<int64_t>& shape() const { return shape_; }
  int64_t size() const;
  size_t bytes() const { return static_cast<size_t>(bytes_of(dtype_, shape_)); }
  bool whole() const { return bytes() == storage_->bytes; }

 private:
  Napi::Value dimensions(const Napi::CallbackInfo& info);
  Napi::Value view(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  size_t bytes_before(int64_t offset, const std::vector<int64_t>& shape) const;
  void release();

  std::shared_ptr<DeviceState> device_;
  std::shared_ptr<Storage> storage_;
  size_t offset_ = 0;
  DType dtype_ = DType::F32;
  std::vector<int64_t> shape_;
};

}  // namespace bts
