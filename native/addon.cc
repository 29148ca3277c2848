#include "addon.h"

#include <string>

#include "arguments.h"
#include "backend.h"
#include "communicator/communicator.h"
#include "communicator/mpi_engine.h"
#include "communicator/nccl_library.h"
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

// nccl(): the version of libnccl.so.2
Napi::Value nccl(const Napi::CallbackInfo& info) {
  return bts::guarded(info.Env(), [&]() -> Napi::Value { return Napi::String::New(info.Env(), bts::nccl::version()); });
}

// ncclId(): what all ranks of a new communicator are given
Napi::Value nccl_id(const Napi::CallbackInfo& info) {
  return bts::guarded(info.Env(), [&]() -> Napi::Value {
    const auto id = bts::nccl::unique_id();
    return Napi::Buffer<char>::Copy(info.Env(), id.bytes.data(), id.bytes.size());
  });
}

std::string path_of(const Napi::CallbackInfo& info) {
  return info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
}

// mpi(path of the engine): which MPI it was built with
Napi::Value mpi(const Napi::CallbackInfo& info) {
  return bts::guarded(info.Env(), [&]() -> Napi::Value {
    return Napi::String::New(info.Env(), bts::load_mpi(path_of(info)).library());
  });
}

// finalizeMpi(path of the engine): waits for all ranks to do the same
Napi::Value finalize_mpi(const Napi::CallbackInfo& info) {
  return bts::guarded(info.Env(), [&]() -> Napi::Value {
    bts::load_mpi(path_of(info)).finalize();
    return info.Env().Undefined();
  });
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new bts::Constructors{Napi::Persistent(bts::Tensor::define(env)),
                                            Napi::Persistent(bts::Program::define(env)),
                                            Napi::Persistent(bts::Communicator::define(env))});
  exports.Set("Device", bts::Device::define(env));
  exports.Set("ops", Napi::Function::New(env, ops, "ops"));
  exports.Set("nccl", Napi::Function::New(env, nccl, "nccl"));
  exports.Set("ncclId", Napi::Function::New(env, nccl_id, "ncclId"));
  exports.Set("mpi", Napi::Function::New(env, mpi, "mpi"));
  exports.Set("finalizeMpi", Napi::Function::New(env, finalize_mpi, "finalizeMpi"));
  exports.Set("variants", Napi::Function::New(env, variants, "variants"));
  return exports;
}

}  // namespace

NODE_API_MODULE(branch_train_stitch, init)
