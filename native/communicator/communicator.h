#pragma once

#include <napi.h>

#include <memory>
#include <vector>

#include "../device.h"
#include "engine.h"

namespace bts {

// The JavaScript class `Communicator`: this process as one of several that compute together. Created by its device, never by
// JavaScript; lib/tensor/communicator.ts is its surface.
class Communicator : public Napi::ObjectWrap<Communicator> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<DeviceState> device, std::shared_ptr<Engine> engine);

  explicit Communicator(const Napi::CallbackInfo& info);

 private:
  using Method = void (Engine::*)(Backend&, const Exchange&);
  // Of what a rank gives and gets in a call.
  enum class Part { Gives, Gets, Both };

  Napi::Value place(const Napi::CallbackInfo& info);
  Napi::Value all_reduce(const Napi::CallbackInfo& info);
  Napi::Value broadcast(const Napi::CallbackInfo& info);
  Napi::Value send(const Napi::CallbackInfo& info);
  Napi::Value receive(const Napi::CallbackInfo& info);
  Napi::Value start_gather(const Napi::CallbackInfo& info);
  Napi::Value gathered(const Napi::CallbackInfo& info);
  Napi::Value split(const Napi::CallbackInfo& info);
  Napi::Value cancel(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  Engine& open() const;
  HostEngine& host() const;
  int peer(const Napi::Value& value, const char* name, bool other) const;
  void push(const char* name, Method method, const Napi::Value& tensors, int peer, Part part);

  std::shared_ptr<DeviceState> device_;
  std::shared_ptr<Engine> engine_;
  Engine::Place place_{-1, 0, {}};
};

}  // namespace bts
