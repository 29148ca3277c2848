#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <variant>
#include <vector>

#include "backend.h"
#include "task.h"

namespace bts {

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
