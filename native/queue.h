#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend.h"
#include "error.h"

namespace bts {

// The memory behind one or several tensors. `fault` belongs to the worker: the error of the op that should have written
// it, carried on to whatever is computed from it and thrown by the read that asks for it.
struct Storage {
  void* data = nullptr;
  size_t bytes = 0;
  int handles = 0;  // tensors that look at it; the JavaScript thread counts
  std::shared_ptr<const Error> fault;
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
  std::function<void(Backend&)> body;
  std::vector<std::shared_ptr<Storage>> reads;
  std::vector<Write> writes;
  // Called last with the fault or null, also when the queue stops before the task ran. May be empty.
  std::function<void(const std::shared_ptr<const Error>&)> done;
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
  // Waits until everything pushed so far has run.
  void drain();
  // Finishes the task at work, drops the others (their `done` is told so) and ends the thread. Twice is harmless.
  void stop();

 private:
  void work();
  void run(Task& task);

  Backend& backend_;
  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<Task> tasks_;
  bool busy_ = false, stopping_ = false;
  std::thread thread_;
};

}  // namespace bts
