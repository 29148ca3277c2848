#include <napi.h>

#include <string>

#include "cpu/dispatch.h"
#include "device.h"
#include "tensor.h"

namespace {

// instructionSets(): [{ name, supported }], narrowest first
Napi::Value instruction_sets(const Napi::CallbackInfo& info) {
  auto list = Napi::Array::New(info.Env());
  for (const auto& set : bts::cpu::instruction_sets()) {
    auto entry = Napi::Object::New(info.Env());
    entry.Set("name", set.name);
    entry.Set("supported", set.supported);
    list.Set(list.Length(), entry);
  }
  return list;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Per environment, so that worker threads and a second load each have their own.
  env.SetInstanceData(new Napi::FunctionReference(Napi::Persistent(bts::Tensor::define(env))));
  exports.Set("Device", bts::Device::define(env));
  exports.Set("instructionSets", Napi::Function::New(env, instruction_sets, "instructionSets"));
  return exports;
}

}  // namespace

NODE_API_MODULE(branch_train_stitch, init)
