// What a binary is linked with: memory of a device and the ops over it. The CPU's lies in cpu/, CUDA's in ../cuda; nothing
// above this file knows which it is.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ops.h"

namespace bts {

// The memory of one device. `take`, `give` and `capacity` belong to the JavaScript thread, the rest to the queue's worker.
class Memory {
 public:
  virtual ~Memory() = default;

  // At least 64-byte aligned, uninitialised; null where there is no more beside the `reserved` bytes taken before.
  virtual void* take(size_t bytes, size_t reserved) = 0;
  // No queued work may still use the block.
  virtual void give(void* block, size_t bytes) = 0;
  // Part of a block holds nothing that is needed: the system may have its pages until they are written again.
  virtual void discard(void*, size_t) {}

  // Bytes that there are, and of these what nobody holds; of the host's memory others know.
  struct Capacity {
    size_t total, free;
  };
  virtual Capacity capacity() { return {0, 0}; }

  // Called once on the worker's thread, before anything else there.
  virtual void enter() {}
  // Produces `bytes` bytes at `into`, the part of a whole that begins at `offset`.
  using Source = std::function<void(char* into, size_t offset, size_t bytes)>;
  // Writes what the source produces, in one part or several, behind all work so far.
  virtual void write(void* to, size_t bytes, const Source& source) = 0;
  // Waits for all work so far and copies to the host.
  virtual void read(void* to, const void* from, size_t bytes) = 0;
  // Waits for all work so far.
  virtual void synchronize() = 0;
  // Whether the host can read this memory where it lies.
  virtual bool is_host() const = 0;
  // Whether all work so far has ended.
  virtual bool is_idle() { return true; }
  // Where the device queues its work, as its vendor's libraries take it; a GPU's stream.
  virtual void* stream() { return nullptr; }
};

// How often a kind of task ran and how long it took in all.
struct Timing {
  int64_t calls = 0;
  double milliseconds = 0;
};

// Takes the time of tasks where they run. `take` belongs to the JavaScript thread and does not wait.
class Stopwatch {
 public:
  virtual ~Stopwatch() = default;
  virtual void start() = 0;
  virtual void stop(const char* task) = 0;
  // By name, of the tasks that have ended since the device was opened or last asked.
  virtual std::map<std::string, Timing> take() = 0;
};

// Work that a device can do again by one launch. Belongs to the queue's worker.
class Graph {
 public:
  virtual ~Graph() = default;
  // Does what `work` queues on the device: records it where there is no record yet, and launches the record. False, and
  // nothing done, where it cannot be recorded.
  virtual bool launch(const std::function<void()>& work) = 0;
};

struct Backend {
  std::unique_ptr<Memory> memory;
  std::unique_ptr<Stopwatch> stopwatch;
  std::variant<std::unique_ptr<OpsOf<float>>, std::unique_ptr<OpsOf<BFloat16>>> ops;
  std::function<std::unique_ptr<Graph>()> make_graph = nullptr;  // null: work is queued anew each time
  bool holds_quantized = false;                                  // whether its products widen matrices in 8 and 4 bits

  DType activations() const { return ops.index() == 0 ? DType::F32 : DType::BF16; }
  int64_t least_rows(bool alone) const {
    return std::visit([=](const auto& ops) { return ops->least_rows(alone); }, ops);
  }
  template <class A>
  OpsOf<A>& ops_of() {
    return *std::get<std::unique_ptr<OpsOf<A>>>(ops);
  }
};

// One of the forms that this binary's device comes in: an instruction set, or a GPU.
struct Variant {
  std::string name;
  bool supported;
  std::string detail;  // what it is, or why it cannot be used; may be empty
};

// All forms, worst first. Throws NO_DEVICE where not even that can be said.
std::vector<Variant> variants();

// Opens the named variant, or the best supported one where the name is empty. `threads` are the host's, for backends that
// compute on them. `precision` is that of activations or, where those are f32 all the same, of the operands of matrix
// products. Throws NO_DEVICE for a variant that is not there or lacks the precision, BAD_OPTION for one that no variant has.
Backend open_backend(const std::string& variant, int threads, DType precision);

}  // namespace bts
