// Ops that were recorded while they were queued, to be run again on the same tensors.
#pragma once

#include <napi.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "queue.h"

namespace bts {

class DeviceState;

// Blocks of the tensors that come and go inside a program. A block that is given back serves the next tensor of its size,
// but leaves the program with its end only: every run needs it again.
class ProgramMemory {
 public:
  using Blocks = std::multimap<size_t, void*>;  // by size

  // The entry of a block of just this size; one without a block where there is none.
  Blocks::node_type take(size_t bytes);
  // Never throws. False once the program has ended: the block is the device's again.
  bool keep(Blocks::node_type entry) noexcept;
  // The blocks that are in no tensor.
  Blocks end();

 private:
  Blocks free_;
  bool ended_ = false;
};

// What was queued since recording began, and what it needs to stay.
struct Recording {
  std::shared_ptr<Tasks> tasks = std::make_shared<Tasks>();
  std::shared_ptr<ProgramMemory> memory = std::make_shared<ProgramMemory>();
  std::set<std::shared_ptr<Storage>> outer;  // storages of tensors from outside; each counts as one handle more

  void add(Task task);

 private:
  std::set<const Storage*> known_;  // of the program's own
};

// The JavaScript class `Program`. Created by its device, never by JavaScript.
class Program : public Napi::ObjectWrap<Program> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Object create(Napi::Env env, std::shared_ptr<DeviceState> device, Recording recording);

  explicit Program(const Napi::CallbackInfo& info);
  ~Program() override;

 private:
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  void release();

  std::shared_ptr<DeviceState> device_;
  Recording recording_;
};

}  // namespace bts
