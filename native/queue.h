#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "backend.h"
#include "error.h"

namespace bts {

class ProgramMemory;

// The memory behind one or several tensors. `fault` belongs to the worker: the error of the op that should have written
// it, carried on to whatever is computed from it and thrown by the read that asks for it.
struct Storage {
  void* data = nullptr;
  size_t bytes = 0;
  int handles = 0;  // tensors and programs that need it; the JavaScript thread counts
  std::shared_ptr<const Error> fault;
  std::shared_ptr<ProgramMemory> program;  // whose block it is; null: the device's
  bool is_host = true;       // `data` can be read by the host
  std::vector<char> mirror;  // where not: a copy of the integers that came from the host; belongs to the worker

  // The mirror. Throws BAD_OPTION where nothing came from the host.
  const char* integers() const;
};

struct Write {
  std::shared_ptr<Storage> storage;
  bool whole;  // overwrites all of it, which also ends an earlier fault
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

// Tasks that are run one after the other, again and again.
struct Tasks {
  std::vector<Task> list;
  std::unique_ptr<Graph> graph;  // null where the device has no such thing
};

// Runs tasks in order on a thread of its own.
class Queue {
 public:
  // The backend must outlive the queue.
  explicit Queue(Backend& backend);
  ~Queue() { stop(); }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  void push(Task task);
  void push(std::shared_ptr<Tasks> tasks);
  // Waits until everything pushed so far has run.
  void drain();
  // Finishes the task or the tasks at work, drops the others (their `done` is told so) and ends the thread. Twice is harmless.
  void stop();

 private:
  using Item = std::variant<Task, std::shared_ptr<Tasks>>;

  void push(Item item);
  void work();
  void run(const Task& task);
  void run(Tasks& tasks);
  bool launch(Tasks& tasks);

  Backend& backend_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<Item> items_;
  bool busy_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace bts
