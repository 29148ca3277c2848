// What a queue runs, and the memory that it runs on.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "error.h"

namespace bts {

struct Backend;
class ProgramMemory;

// The memory behind one or several tensors. `fault` belongs to the worker: the error of the op that should have written
// it, carried on to whatever is computed from it and thrown by the read that asks for it.
struct Storage {
  void* data = nullptr;
  size_t bytes = 0;
  int handles = 0;  // tensors and programs that need it; the JavaScript thread counts
  std::shared_ptr<const Error> fault;
  std::shared_ptr<ProgramMemory> program;         // whose block it is; null: the device's
  std::multimap<size_t, void*>::node_type entry;  // in that program's memory once the block is free: made beforehand
  bool is_host = true;                            // `data` can be read by the host
  std::vector<char> mirror;  // where not: a copy of the integers that came from the host; belongs to the worker

  // The mirror. Throws BAD_OPTION where nothing came from the host.
  const char* integers() const;
};

struct Write {
  std::shared_ptr<Storage> storage;
  bool whole;         // overwrites all of it, which also ends an earlier fault
  bool kept = false;  // stays as it was where something that the task reads is at fault, and is no part of that fault
};

struct Task {
  const char* name;
  std::function<void()> host = {};  // what the host does first: checks, whose Error keeps the body from running
  std::function<void(Backend&)> body = {};
  std::vector<std::shared_ptr<Storage>> reads = {};
  std::vector<Write> writes = {};
  // Called last with the fault or null, also when the queue stops before the task ran. May be empty.
  std::function<void(const std::shared_ptr<const Error>&)> done = {};
};

}  // namespace bts
