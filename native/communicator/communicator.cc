#include "communicator.h"

#include <string>
#include <utility>

#include "../addon.h"
#include "../arguments.h"
#include "../tensor.h"

namespace bts {

namespace {

// What a new Communicator is made of, handed to the constructor through an external value.
struct Parts {
  std::shared_ptr<DeviceState> device;
  std::shared_ptr<Engine> engine;
};

using Storages = std::vector<std::shared_ptr<Storage>>;

std::shared_ptr<const Error> fault_of(const Storages& storages) {
  for (const auto& storage : storages)
    if (storage->fault) return storage->fault;
  return nullptr;
}

}  // namespace

Napi::Function Communicator::define(Napi::Env env) {
  return DefineClass(
      env, "Communicator",
      {InstanceMethod<&Communicator::place>("place"), InstanceMethod<&Communicator::all_reduce>("allReduce"),
       InstanceMethod<&Communicator::broadcast>("broadcast"), InstanceMethod<&Communicator::send>("send"),
       InstanceMethod<&Communicator::receive>("receive"), InstanceMethod<&Communicator::start_gather>("startGather"),
       InstanceMethod<&Communicator::gathered>("gathered"), InstanceMethod<&Communicator::split>("split"),
       InstanceMethod<&Communicator::cancel>("cancel"), InstanceMethod<&Communicator::dispose>("dispose")});
}

Napi::Object Communicator::create(Napi::Env env, std::shared_ptr<DeviceState> device, std::shared_ptr<Engine> engine) {
  Parts parts{std::move(device), std::move(engine)};
  return env.GetInstanceData<Constructors>()->communicator.New({Napi::External<Parts>::New(env, &parts)});
}

Communicator::Communicator(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    Napi::TypeError::New(info.Env(), "communicators are opened by their device").ThrowAsJavaScriptException();
    return;
  }
  Parts& parts = *info[0].As<Napi::External<Parts>>().Data();
  device_ = std::move(parts.device);
  engine_ = std::move(parts.engine);
  // The worker may be waiting for others when the device ends.
  device_->at_close([engine = std::weak_ptr(engine_)] {
    if (const auto there = engine.lock()) there->cancel();
  });
}

Engine& Communicator::open() const {
  if (!engine_ || device_->closed())
    throw Error("DISPOSED", "the communicator was used after it or its device was disposed");
  return *engine_;
}

HostEngine& Communicator::host() const {
  auto* const host = dynamic_cast<HostEngine*>(&open());
  if (!host) throw Error("BAD_OPTION", "gather: this engine carries tensors alone");
  return *host;
}

// place(): { rank, size }, or undefined as long as the engine is being started
Napi::Value Communicator::place(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto place = open().place();
    if (!place) return info.Env().Undefined();
    place_ = *place;
    auto result = Napi::Object::New(info.Env());
    result.Set("rank", place_.rank);
    result.Set("size", place_.size);
    return result;
  });
}

int Communicator::peer(const Napi::Value& value, const char* name, bool other) const {
  const auto rank = static_cast<int>(to_integer(value, name, 0, place_.size - 1));
  if (other && rank == place_.rank)
    throw Error("BAD_OPTION", std::string(name) + " must be another rank than this one, " + std::to_string(rank));
  return rank;
}

// Queues one call. It is made whatever happened before: ranks that cannot take part tell the others, who would wait for them.
void Communicator::push(const char* name, Method method, const Napi::Value& tensors, int peer, Part part) {
  open();
  const auto refuse = [&](const std::string& why) { throw Error("BAD_OPTION", std::string(name) + ": " + why); };
  if (place_.size == 0) refuse("the communicator has not been started");
  if (device_->recording()) refuse("calls of several ranks cannot be recorded in a program");
  if (!tensors.IsArray()) refuse("expected a list of tensors");
  Exchange exchange{.pieces = {}, .peer = peer};
  Storages given;
  Task task{.name = name};
  const auto list = tensors.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    const Tensor& tensor = Tensor::from(list[i], "tensor");
    if (tensor.device() != device_) refuse("the tensor belongs to another device");
    const DType dtype = tensor.dtype();
    if (method == &Engine::all_reduce && dtype != DType::F32 && dtype != DType::BF16)
      refuse(std::string("sums are those of tensors in f32 or bf16, not ") + name_of(dtype));
    if (dtype == DType::I32) refuse("integers are the host's: gather them there");
    exchange.pieces.push_back({tensor.data(), tensor.bytes(), dtype});
    if (part != Part::Gets) given.push_back(tensor.storage());
    // Where a call fails, what it was about tells so; what was sent, too, since nothing else could.
    task.writes.push_back({tensor.storage(), part == Part::Gets && tensor.whole()});
  }
  task.body = [=, engine = engine_, place = place_](Backend& backend) {
    const auto fault = fault_of(given);
    Exchange mine = exchange;
    if (fault) mine.failure = fault->what();
    try {
      ((*engine).*method)(backend, mine);
    } catch (const Error& error) {
      if (fault) throw *fault;
      throw Error(error.code, "on rank " + std::to_string(place.names.ranks[static_cast<size_t>(place.rank)]) + " of " +
                                  std::to_string(place.names.of) + ": " + error.what());
    }
    if (fault) throw *fault;
  };
  device_->push(std::move(task));
}

// allReduce(tensors): sums in place
Napi::Value Communicator::all_reduce(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    push("all-reduce", &Engine::all_reduce, info[0], -1, Part::Both);
    return info.Env().Undefined();
  });
}

// broadcast(tensors, root)
Napi::Value Communicator::broadcast(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const int root = peer(info[1], "root", false);
    push("broadcast", &Engine::broadcast, info[0], root, root == place_.rank ? Part::Gives : Part::Gets);
    return info.Env().Undefined();
  });
}

// send(tensors, to)
Napi::Value Communicator::send(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    push("send", &Engine::send, info[0], peer(info[1], "to", true), Part::Gives);
    return info.Env().Undefined();
  });
}

// receive(tensors, from)
Napi::Value Communicator::receive(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    push("receive", &Engine::receive, info[0], peer(info[1], "from", true), Part::Gets);
    return info.Env().Undefined();
  });
}

// startGather(bytes)
Napi::Value Communicator::start_gather(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    HostEngine& engine = host();
    if (!info[0].IsTypedArray()) throw Error("BAD_OPTION", "gather: expected bytes");
    const auto array = info[0].As<Napi::TypedArray>();
    engine.start_gather({static_cast<const char*>(array.ArrayBuffer().Data()) + array.ByteOffset(),
                         array.ByteLength()});
    return info.Env().Undefined();
  });
}

// gathered(): every rank's bytes as text, or undefined until they have come
Napi::Value Communicator::gathered(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto all = host().gathered();
    if (!all) return info.Env().Undefined();
    auto list = Napi::Array::New(info.Env());
    for (const auto& bytes : *all) list.Set(list.Length(), Napi::String::New(info.Env(), bytes));
    return list;
  });
}

// split(number): Communicator of the ranks that give the same. All call it, and are there: it waits.
Napi::Value Communicator::split(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    const auto number = static_cast<int>(to_integer(info[0], "number", 0, 1'000'000));
    return create(info.Env(), device_, host().split(number));
  });
}

// cancel(): the call at work fails, and all that follow
Napi::Value Communicator::cancel(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    open().cancel();
    return info.Env().Undefined();
  });
}

Napi::Value Communicator::dispose(const Napi::CallbackInfo& info) {
  engine_.reset();  // what is queued has it, too
  return info.Env().Undefined();
}

}  // namespace bts
