#include "queue.h"

#include <system_error>
#include <utility>

namespace bts {

const char* Storage::integers() const {
  if (mirror.size() != bytes) throw Error("BAD_OPTION", "integers must come from the host, and these never did");
  return mirror.data();
}

Queue::Queue(Backend& backend) : backend_(backend) {
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    throw Error("NO_DEVICE", std::string("the system grants no thread: ") + error.what());
  }
}

void Queue::push(Task task) {
  {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  wake_.notify_one();
}

void Queue::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return (tasks_.empty() && !busy_) || stopping_; });
}

void Queue::stop() {
  std::deque<Task> dropped;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(tasks_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  const auto disposed = std::make_shared<const Error>("DISPOSED", "the device was disposed before this read was served");
  for (auto& task : dropped)
    if (task.done) task.done(disposed);
}

void Queue::work() {
  backend_.memory->enter();
  for (;;) {
    Task task;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      if (tasks_.empty()) idle_.notify_all();
      wake_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
      busy_ = true;
    }
    backend_.stopwatch->start();
    run(task);
    backend_.stopwatch->stop(task.name);
  }
}

void Queue::run(Task& task) {
  std::shared_ptr<const Error> fault;
  for (const auto& read : task.reads)
    if (read->fault) {
      fault = read->fault;
      break;
    }
  if (!fault && task.body) {
    try {
      task.body(backend_);
    } catch (const Error& error) {
      fault = std::make_shared<const Error>(error.code, std::string(task.name) + ": " + error.what());
    } catch (const std::bad_alloc&) {
      fault = std::make_shared<const Error>("OUT_OF_MEMORY", std::string(task.name) + ": the host's memory is used up");
    } catch (const std::exception& error) {
      fault = std::make_shared<const Error>("BAD_OPTION", std::string(task.name) + ": " + error.what());
    }
  }
  for (const auto& write : task.writes)
    if (fault || write.whole) write.storage->fault = fault;
  if (task.done) task.done(fault);
}

}  // namespace bts
