#include "addon.h"

#include <string>

#include "arguments.h"
#include "backend.h"
#include "device.h"
#include "op_table.h"
#include "program.h"
#include "tensor.h"

namespace {

// variants(): [{ name, supported, detail }], worst first
Napi::Value variants(const Napi::CallbackInfo& info) {
  return bts::guarded(info.Env(), [&]() -> Napi::Value {
    auto list = Napi::Array::New(info.Env());
    for (const auto& variant : bts::variants()) {
      auto entry = Napi::Object::New(info.Env());
      entry.Set("name", variant.name);
      entry.Set("supported", variant.supported);
      entry.Set("detail", variant.detail);
      list.Set(list.Length(), entry);
    }
    return list;
  });
}

// ops(): the names of all ops
Napi::Value ops(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const char* name : bts::op_names()) list.Set(list.Length(), name);
  return list;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new bts::Constructors{Napi::Persistent(bts::Tensor::define(env)),
                                            Napi::Persistent(bts::Program::define(env))});
  exports.Set("Device", bts::Device::define(env));
  exports.Set("ops", Napi::Function::New(env, ops, "ops"));
  exports.Set("variants", Napi::Function::New(env, variants, "variants"));
  return exports;
}

}  // namespace

NODE_API_MODULE(branch_train_stitch, init)
