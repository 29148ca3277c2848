#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "memory_pool.h"
#include "program.h"
#include "queue.h"

namespace bts {

class DeviceState;
class Tensor;

// A promise that the worker will settle, owned by the JavaScript thread.
struct PendingRead {
  std::shared_ptr<DeviceState> device;  // stays until the promise is settled
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::ArrayBuffer> bytes;  // empty for a mere synchronisation
  std::shared_ptr<const Error> fault = nullptr;
  std::unique_ptr<PendingRead> next = nullptr;  // that was settled before it
};

// Memory, queue and pending reads of one open device. Tensors share it, so it outlives the JavaScript object that
// opened it; all members but the queue's worker belong to the JavaScript thread.
class DeviceState : public std::enable_shared_from_this<DeviceState> {
 public:
  DeviceState(Napi::Env env, Backend backend);
  ~DeviceState();

  // Memory for a tensor; `constant`: what is recorded now must not use it for anything else, since the host fills it once.
  std::shared_ptr<Storage> allocate(size_t bytes, bool constant = false);
  void release(Storage& storage);
  void push(Task task);
  // Queues an op, and records it where recording goes on.
  void run(Task task);
  void run(std::shared_ptr<Tasks> tasks) { queue_->push(std::move(tasks)); }
  void begin_recording();
  Recording end_recording();
  bool recording() const { return recording_ != nullptr; }
  // Whether the storage lies in what the program now recorded uses again and again.
  bool is_recorded(const Storage& storage) const { return recording_ && storage.program == recording_->memory; }
  // Gives back what a recording kept.
  void forget(Recording& recording);
  void drain() { queue_->drain(); }
  // A promise for the end of all queued work; where there is a tensor, for its bytes, which are then in the buffer.
  Napi::Value read(Napi::Env env, const Tensor* tensor, Napi::ArrayBuffer buffer);
  // Ends the queue and frees all memory. Reads that were not served are rejected, or forgotten where JavaScript can no
  // longer run.
  void close(bool environment_ends = false);
  // What is called first when it closes, once.
  void at_close(std::function<void()> f) { at_close_.push_back(std::move(f)); }
  std::map<std::string, Timing> take_timings() { return backend_.stopwatch->take(); }
  bool closed() const { return !queue_; }
  DType activations() const { return backend_.activations(); }
  int64_t least_rows(bool alone) const { return backend_.least_rows(alone); }
  bool holds_quantized() const { return backend_.holds_quantized; }
  MemoryPool& memory() { return memory_; }
  Memory::Capacity capacity() { return backend_.memory->capacity(); }

 private:
  void give(void* block);
  static void settle(napi_env env, napi_value, void* context, void*);
  static void environment_ends(void* state);
  void settle_all(Napi::Env env);
  std::unique_ptr<PendingRead> take_settled();

  Backend backend_;  // first: what follows refers to it
  MemoryPool memory_;
  napi_env env_;
  napi_threadsafe_function wake_ = nullptr;
  std::unique_ptr<Queue> queue_;
  std::unique_ptr<Recording> recording_;
  std::vector<std::function<void()>> at_close_;
  size_t pending_ = 0;
  std::mutex settled_mutex_;
  std::unique_ptr<PendingRead> settled_;  // the latest; a list, so that the worker needs no memory to tell
};

// The JavaScript class `Device`; lib/tensor/addon.ts documents its surface.
class Device : public Napi::ObjectWrap<Device> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Device(const Napi::CallbackInfo& info);
  ~Device() override;

 private:
  Napi::Value allocate(const Napi::CallbackInfo& info);
  Napi::Value upload(const Napi::CallbackInfo& info);
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value begin_recording(const Napi::CallbackInfo& info);
  Napi::Value end_recording(const Napi::CallbackInfo& info);
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value memory(const Napi::CallbackInfo& info);
  Napi::Value capacity(const Napi::CallbackInfo& info);
  Napi::Value least_rows(const Napi::CallbackInfo& info);
  Napi::Value profile(const Napi::CallbackInfo& info);
  Napi::Value trim(const Napi::CallbackInfo& info);
  Napi::Value open_mpi(const Napi::CallbackInfo& info);
  Napi::Value open_nccl(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);

  std::shared_ptr<DeviceState> open() const;

  std::shared_ptr<DeviceState> state_;
};

}  // namespace bts
