#include "program.h"

#include <utility>

#include "addon.h"
#include "arguments.h"
#include "device.h"

namespace bts {

namespace {

// What a new Program is made of, handed to the constructor through an external value.
struct Parts {
  std::shared_ptr<DeviceState> device;
  Recording recording;
};

}  // namespace

ProgramMemory::Blocks::node_type ProgramMemory::take(size_t bytes) {
  if (const auto found = free_.find(bytes); found != free_.end()) return free_.extract(found);
  Blocks entry{{bytes, nullptr}};
  return entry.extract(entry.begin());
}

bool ProgramMemory::keep(Blocks::node_type entry) noexcept {
  if (!ended_) free_.insert(std::move(entry));
  return !ended_;
}

ProgramMemory::Blocks ProgramMemory::end() {
  ended_ = true;
  return std::move(free_);
}

void Recording::add(Task task) {
  const auto hold = [this](const std::shared_ptr<Storage>& storage) {
    if (storage->program != memory && outer.insert(storage).second) storage->handles++;
  };
  for (const auto& read : task.reads) hold(read);
  for (auto& write : task.writes) {
    hold(write.storage);
    // A tensor of the program's own begins anew in each run, also where it is written part by part.
    if (write.storage->program == memory && known_.insert(write.storage.get()).second) write.whole = true;
  }
  tasks->list.push_back(std::move(task));
}

Napi::Function Program::define(Napi::Env env) {
  return DefineClass(env, "Program",
                     {InstanceMethod<&Program::run>("run"), InstanceMethod<&Program::dispose>("dispose")});
}

Napi::Object Program::create(Napi::Env env, std::shared_ptr<DeviceState> device, Recording recording) {
  Parts parts{std::move(device), std::move(recording)};
  return env.GetInstanceData<Constructors>()->program.New({Napi::External<Parts>::New(env, &parts)});
}

Program::Program(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (info.Length() != 1 || !info[0].IsExternal()) {
    Napi::TypeError::New(info.Env(), "programs are recorded by their device").ThrowAsJavaScriptException();
    return;
  }
  Parts& parts = *info[0].As<Napi::External<Parts>>().Data();
  device_ = std::move(parts.device);
  recording_ = std::move(parts.recording);
}

Program::~Program() { release(); }

void Program::release() {
  if (!device_) return;
  device_->forget(recording_);
  recording_ = {};
  device_.reset();
}

// run(): queues all of it
Napi::Value Program::run(const Napi::CallbackInfo& info) {
  return guarded(info.Env(), [&]() -> Napi::Value {
    if (!device_ || device_->closed()) throw Error("DISPOSED", "a program was run after it or its device was disposed");
    device_->run(recording_.tasks);
    return info.Env().Undefined();
  });
}

Napi::Value Program::dispose(const Napi::CallbackInfo& info) {
  release();
  return info.Env().Undefined();
}

}  // namespace bts
