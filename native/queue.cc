#include "queue.h"

#include <new>
#include <system_error>
#include <utility>

namespace bts {

namespace {

// Made while there is memory.
const std::shared_ptr<const Error>& out_of_memory() {
  static const auto fault = std::make_shared<const Error>("OUT_OF_MEMORY", "the host's memory is used up");
  return fault;
}

const std::shared_ptr<const Error>& disposed() {
  static const auto fault =
      std::make_shared<const Error>("DISPOSED", "the device was disposed before this read was served");
  return fault;
}

}  // namespace

const char* Storage::integers() const {
  if (mirror.size() != bytes) throw Error("BAD_OPTION", "integers must come from the host, and these never did");
  return mirror.data();
}

Queue::Queue(Backend& backend) : backend_(backend) {
  out_of_memory();
  disposed();
  try {
    thread_ = std::thread([this] { work(); });
  } catch (const std::system_error& error) {
    throw Error("NO_DEVICE", std::string("the system grants no thread: ") + error.what());
  }
}

void Queue::push(Task task) { push(Item(std::move(task))); }

void Queue::push(std::shared_ptr<Tasks> tasks) { push(Item(std::move(tasks))); }

void Queue::push(Item item) {
  {
    std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
  }
  wake_.notify_one();
}

void Queue::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return (items_.empty() && !busy_) || stopping_; });
}

void Queue::stop() {
  std::deque<Item> dropped;
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(items_);
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  for (auto& item : dropped)
    if (auto* task = std::get_if<Task>(&item); task && task->done) task->done(disposed());
}

void Queue::work() {
  backend_.memory->enter();
  for (;;) {
    Item item;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      if (items_.empty()) idle_.notify_all();
      wake_.wait(lock, [this] { return stopping_ || !items_.empty(); });
      if (stopping_) return;
      item = std::move(items_.front());
      items_.pop_front();
      busy_ = true;
    }
    if (auto* task = std::get_if<Task>(&item)) run(*task);
    else run(*std::get<std::shared_ptr<Tasks>>(item));
  }
}

namespace {

std::shared_ptr<const Error> fault_of(const std::vector<std::shared_ptr<Storage>>& reads) {
  for (const auto& read : reads)
    if (read->fault) return read->fault;
  return nullptr;
}

// The error that f throws, as one of the task; null where it throws none.
template <class F>
std::shared_ptr<const Error> fault_of_call(const char* task, F&& f) {
  const auto fault = [task](const char* code, const char* what) {
    return std::make_shared<const Error>(code, std::string(task) + ": " + what);
  };
  try {
    try {
      f();
    } catch (const Error& error) {
      return fault(error.code, error.what());
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      return fault("BAD_OPTION", error.what());
    }
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  }
  return nullptr;
}

// Without memory for it, the time is not told.
void take_time(Stopwatch& stopwatch, const char* task) {
  try {
    stopwatch.stop(task);
  } catch (const std::bad_alloc&) {
  }
}

// `met`: the fault is of something that the task reads, and not its own.
void mark(const Task& task, const std::shared_ptr<const Error>& fault, bool met) {
  for (const auto& write : task.writes)
    if (write.whole || (fault && !(met && write.kept))) write.storage->fault = fault;
}

}  // namespace

void Queue::run(const Task& task) {
  backend_.stopwatch->start();
  auto fault = fault_of(task.reads);
  const bool met = fault != nullptr;
  if (!met)
    fault = fault_of_call(task.name, [&] {
      if (task.host) task.host();
      if (task.body) task.body(backend_);
    });
  mark(task, fault, met);
  take_time(*backend_.stopwatch, task.name);
  if (task.done) task.done(fault);
}

void Queue::run(Tasks& tasks) {
  if (tasks.graph && launch(tasks)) return;
  for (const Task& task : tasks.list) run(task);
}

// Runs all of it as one; false where the device cannot, or where something is at fault beforehand, which concerns only what
// depends on it.
bool Queue::launch(Tasks& tasks) {
  for (const Task& task : tasks.list) {
    const auto checked = fault_of_call(task.name, [&] {
      if (task.host) task.host();
    });
    if (checked || fault_of(task.reads)) return false;
  }
  bool launched = false;
  backend_.stopwatch->start();
  const auto fault = fault_of_call("program", [&] {
    launched = tasks.graph->launch([&] {
      for (const Task& task : tasks.list) task.body(backend_);
    });
  });
  if (!launched && !fault) return false;
  for (const Task& task : tasks.list) mark(task, fault, false);
  take_time(*backend_.stopwatch, "program");
  return true;
}

}  // namespace bts
